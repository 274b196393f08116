"""The trials of a search: an Optuna journal in a folder, shared by whoever calls."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unshaken.comparison.folder import plain, require_folder
from unshaken.comparison.tuning_owners import NAMELESS, Owner
from unshaken.comparison.tuning_space import Dimension, Point

SEARCHES = ("tpe", "grid", "random")

_JOURNAL = "study.jsonl"
_NAME = "unshaken tune"


@dataclass(frozen=True)
class Trial:
    """A point of the space that this process is to try, or one that was tried.

    Attributes:
        number: its place in the study.
        point: a value for each dimension.
        result: what was found, once it is finished.
        pruned: whether it was given up after its first seed.
    """

    number: int
    point: Point
    result: Mapping[str, Any] | None = None
    pruned: bool = False


class Study:
    """The trials in a folder: each is tried by one process, and once.

    A process that dies leaves trials under way. The next look of any other one, or the next call,
    gives their points to new trials: a dead process is known by its lock
    (:class:`~unshaken.comparison.tuning_owners.Owner`). Should it come back to life, what it says
    of a trial that was given away is not heard.

    Args:
        path: the folder; it is made.
        identity: what the study is about; calls that differ in it must not share a folder.
        space: the dimensions.
        search: ``tpe``, ``grid`` or ``random``.
        points: every point of a grid; empty for the other searches.

    Raises:
        ValueError: the folder cannot be written, or holds something else or a damaged study.
        ImportError: Optuna is missing.
    """

    def __init__(
        self,
        path: Path,
        identity: Mapping[str, Any],
        space: Sequence[Dimension],
        search: str,
        points: Sequence[Point] = (),
    ) -> None:
        self._optuna = optuna_or_raise()
        require_folder(path)
        self.path, self._space, self._search = path, space, search
        self._asked: dict[int, Any] = {}
        if not (path / _JOURNAL).exists() and (path / "summary.json").exists():
            raise ValueError(f"out: {path} holds other results; name another folder")
        self.owner = Owner(path / "processes")
        try:
            with self._alone(), self._whole():
                backend = self._optuna.storages.journal.JournalFileBackend(str(path / _JOURNAL))
                self._study = self._optuna.create_study(
                    storage=self._optuna.storages.JournalStorage(backend),
                    study_name=_NAME,
                    load_if_exists=True,
                    sampler=self._optuna.samplers.RandomSampler(seed=0),
                )
                self._check(plain(identity))
                self._enqueue(points)
        except BaseException:
            self.owner.close()
            raise

    def _check(self, identity: Mapping[str, Any]) -> None:
        found = self._study.user_attrs.get("identity")
        if found is None:
            self._study.set_user_attr("identity", dict(identity))
            return
        for key, value in identity.items():
            old = found.get(key, value)
            if old != value:
                raise ValueError(
                    f"out: {self.path} holds a study of other {_PLURAL.get(key, key)} "
                    f"({_short(_apart(old, value))} instead of {_short(_apart(value, old))}); "
                    "name another folder"
                )

    def close(self) -> None:
        """Let others do what this process has not finished."""
        self.owner.close()

    def take(self, size: int, total: int) -> list[Trial]:
        """Points for this process to try now; fewer than ``size``, or none, where others have them.

        Args:
            size: how many at most.
            total: how many trials the study is to have; a grid has its points.
        """
        states = self._optuna.trial.TrialState
        with self._alone(), self._whole():
            self._give_away()
            trials = self._study.get_trials(deepcopy=False)
            waiting = sum(t.state == states.WAITING for t in trials)
            again = {t.user_attrs.get("again_of") for t in trials}
            begun = sum(t.state != states.WAITING and t.number not in again for t in trials)
            missing = 0 if self._search == "grid" else total - begun
            return [self._ask() for _ in range(min(size, max(waiting, missing)))]

    def busy(self) -> bool:
        """Whether other processes still have trials under way."""
        states = self._optuna.trial.TrialState
        with self._whole():
            trials = self._study.get_trials(deepcopy=False)
        open_ones = (states.RUNNING, states.WAITING)
        return any(t.state in open_ones for t in trials)

    def tell(self, trial: Trial, result: Mapping[str, Any], *, pruned: bool = False) -> None:
        """Keep what a trial gave; not heard where the trial was given to another process.

        Args:
            trial: one that :meth:`take` gave.
            result: plain values, with ``error_mean``; its ``score`` is what the search learns from.
            pruned: whether it was given up early.
        """
        states = self._optuna.trial.TrialState
        asked, score = self._asked[trial.number], float(result["score"])
        with self._alone(), self._whole():
            try:
                asked.set_user_attr("result", plain(result))
                if pruned:
                    asked.report(score, 0)
            except self._optuna.exceptions.UpdateFinishedTrialError:
                return
            state = states.PRUNED if pruned else states.COMPLETE
            values = None if pruned else score
            self._study.tell(asked, values, state=state, skip_if_finished=True)

    def lose(self, trial: Trial) -> None:
        """A trial gave no result; the next call tries its point again."""
        with self._alone(), self._whole():
            self._study.tell(
                trial.number, state=self._optuna.trial.TrialState.FAIL, skip_if_finished=True
            )

    def finished(self) -> list[Trial]:
        """The trials that gave a result, in their order."""
        states = self._optuna.trial.TrialState
        with self._whole():
            trials = self._study.get_trials(deepcopy=False)
        return [
            Trial(t.number, dict(t.params), t.user_attrs["result"], t.state == states.PRUNED)
            for t in trials
            if t.state in _finished(states)
        ]

    def importance(self) -> dict[str, float]:
        """The share of each dimension in the spread of the errors; empty where it cannot be told.

        fANOVA (Hutter et al., 2014) on Optuna's random forest.
        """
        if len(self._space) < 2 or len([t for t in self.finished() if not t.pruned]) < _ENOUGH:
            return {}
        with self._whole():
            evaluator = self._optuna.importance.FanovaImportanceEvaluator(seed=0)
            try:
                found = self._optuna.importance.get_param_importances(
                    self._study, evaluator=evaluator
                )
            except (RuntimeError, ValueError):
                return {}  # all errors alike
        return {name: float(share) for name, share in found.items()}

    def _ask(self) -> Trial:
        # A sampler of its own for each trial, seeded by its place: a study that goes on after an
        # interruption tries what it would have tried.
        place = len(self._study.get_trials(deepcopy=False))
        samplers = self._optuna.samplers
        self._study.sampler = (
            samplers.TPESampler(seed=place, constant_liar=True)
            if self._search == "tpe"
            else samplers.RandomSampler(seed=place)
        )
        asked = self._study.ask()
        asked.set_user_attr("owner", self.owner.name)
        point = {}
        for d in self._space:
            if d.values:
                point[d.name] = float(asked.suggest_categorical(d.name, d.values))
            else:
                point[d.name] = asked.suggest_float(d.name, d.low, d.high, log=d.log)
        self._asked[asked.number] = asked
        return Trial(asked.number, point)

    def _give_away(self) -> None:
        """Points of trials that failed, or whose process died, wait to be tried again."""
        states = self._optuna.trial.TrialState
        trials = self._study.get_trials(deepcopy=False)
        again = {t.user_attrs.get("again_of") for t in trials}
        for t in trials:
            if t.state not in (states.RUNNING, states.FAIL) or t.number in again:
                continue
            if self.owner.lives(t.user_attrs.get("owner", f"{NAMELESS}-{t.number}")):
                continue
            if t.state == states.RUNNING:
                self._study.tell(t.number, state=states.FAIL, skip_if_finished=True)
            point = {**t.system_attrs.get("fixed_params", {}), **t.params}
            self._study.enqueue_trial(point, user_attrs={"again_of": t.number})

    def _enqueue(self, points: Sequence[Point]) -> None:
        known = {
            json.dumps(t.system_attrs.get("fixed_params", t.params), sort_keys=True)
            for t in self._study.get_trials(deepcopy=False)
        }
        for point in points:
            if json.dumps(point, sort_keys=True) not in known:
                self._study.enqueue_trial(point)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """No other process looks for trials meanwhile, where the file system has locks."""
        handle = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            try:
                import fcntl

                fcntl.flock(handle, fcntl.LOCK_EX)
            except (ImportError, OSError):
                pass  # at worst two processes try a few trials more than were asked for
            yield
        finally:
            os.close(handle)

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """Optuna without its remarks, and its complaints of a damaged journal as one sentence."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise self._damaged() from error
        except ValueError as error:
            if "log format" not in str(error):
                raise
            raise self._damaged() from error

    def _damaged(self) -> ValueError:
        return ValueError(
            f"out: {self.path / _JOURNAL} is damaged; remove it and call again: the runs in "
            f"{self.path / 'runs'} are kept and not done again"
        )


_PLURAL = {
    "method": "methods",
    "space": "ranges",
    "search": "searches",
    "network": "networks",
    "training": "budgets",
    "protocol": "data or protocols",
}

_ENOUGH = 8
"""Trials from which on shares of the spread mean something."""


def optuna_or_raise() -> Any:
    """Optuna, silenced.

    Raises:
        ImportError: it is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise ImportError("tune needs optuna: pip install 'unshaken[tune]'") from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def _finished(states: Any) -> tuple[Any, Any]:
    return states.COMPLETE, states.PRUNED


def _apart(value: Any, other: Any) -> Any:
    """What of a value is not so in another one."""
    if isinstance(value, dict) and isinstance(other, dict):
        return {k: v for k, v in value.items() if k not in other or other[k] != v}
    return value


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
