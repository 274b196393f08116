"""Everything a run is at a moment, as plain values and tensors: what a checkpoint holds."""

from __future__ import annotations

import difflib
import json
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import torch
from torch.optim import Optimizer

from ..data.seeds import seed_of
from .averages import WeightAverage
from .checkpoint import CheckpointError
from .clock import StepClock
from .config import TrainingConfig
from .meter import Meter
from .runtime import Runtime

if TYPE_CHECKING:
    from ..objective import Objective

__all__ = [
    "FORMAT",
    "RunState",
    "describe_objective",
    "first_not_finite",
    "plain_settings",
    "seed_random_state",
]

FORMAT = "unshaken checkpoint 1"


class RunState:
    """Takes the state of a run's objects, of all processes, and puts it back."""

    def __init__(
        self,
        objective: Objective,
        optimizer: Optimizer,
        average: WeightAverage | None,
        runtime: Runtime,
        meter: Meter,
        clock: StepClock,
    ) -> None:
        self._objective, self._optimizer, self._average = objective, optimizer, average
        self._runtime, self._meter, self._clock = runtime, meter, clock

    def capture(self, config: TrainingConfig, described: Mapping[str, Any]) -> dict[str, Any]:
        """The state, to be written; every process has to call this."""
        alarm = self._objective.alarm
        each = self._runtime.gather(
            {
                "random": _random_state(self._runtime.device),
                "meter": self._meter.state_dict(),
                "alarm": None if alarm is None else alarm.state_dict(),
            }
        )
        return {
            "format": FORMAT,
            "torch": str(torch.__version__),
            "config": config.to_dict(),
            "run": dict(described),
            "objective": dict(self._objective.state_dict()),
            "optimizer": self._optimizer.state_dict(),
            "average": None if self._average is None else self._average.state_dict(),
            "scale": self._runtime.state_dict(),
            "processes": each,
            "clock": self._clock.state(),
        }

    def restore(
        self,
        path: Path,
        content: Mapping[str, Any],
        config: TrainingConfig,
        described: Mapping[str, Any],
    ) -> None:
        """Put back what :meth:`capture` took.

        Args:
            path: the checkpoint, as the sentences name it.
            content: what it holds.
            config: the settings now.
            described: what else describes the run now: ``data``, ``objective``, ``settings``.

        Raises:
            CheckpointError: the checkpoint is of another kind.
            ValueError: it is of another run; the sentence names the first thing that differs.
        """
        if content.get("format") != FORMAT:
            raise CheckpointError(f"{path} is no checkpoint of a run: its format is unknown")
        _check_same_run(path, content, config, described)
        _check_same_tensors(path, content["objective"], self._objective.state_dict())
        self._objective.load_state_dict(content["objective"])
        self._optimizer.load_state_dict(content["optimizer"])
        if self._average is not None:
            self._average.load_state_dict(content["average"])
        self._runtime.load_state_dict(content["scale"])
        self._clock.load(content["clock"])
        each, count = content["processes"], self._runtime.world_size
        if len(each) != count:
            warnings.warn(
                f"{path} was written by {len(each)} processes and is resumed by {count}: dropout's "
                "draws, and the last digits, will differ from a run that was never stopped",
                stacklevel=2,
            )
        mine = each[self._runtime.rank if self._runtime.rank < len(each) else 0]
        if self._runtime.rank < len(each):
            _set_random_state(mine["random"], self._runtime.device)
        self._meter.load_state_dict(mine["meter"])
        # Checkpoints of earlier versions have no alarm.
        if self._objective.alarm is not None and mine.get("alarm") is not None:
            self._objective.alarm.load_state_dict(mine["alarm"])


def seed_random_state(seed: int, rank: int) -> None:
    """Seed the global generators of this process, from which dropout draws: each its own."""
    torch.manual_seed(seed_of("training", seed, rank))


def _random_state(device: torch.device) -> dict[str, torch.Tensor]:
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def _set_random_state(state: Mapping[str, torch.Tensor], device: torch.device) -> None:
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)


def describe_objective(objective: Objective) -> list[str]:
    """The regularizers in words, one line each part, without addresses in memory."""
    text = repr(objective.regularizers)
    return re.sub(r" at 0x[0-9a-fA-F]+", "", text).splitlines()


def plain_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings as JSON holds them, so that they compare equal after a round trip.

    Raises:
        ValueError: a value is not plain.
    """
    try:
        return dict(json.loads(json.dumps(dict(settings))))
    except (TypeError, ValueError) as error:
        raise ValueError(f"settings must hold plain values that JSON knows: {error}") from error


def first_not_finite(objective: Objective) -> str | None:
    """The name of a parameter or buffer that holds NaN or infinity, or None."""
    state = objective.state_dict().items()
    named = [(n, v) for n, v in state if isinstance(v, torch.Tensor) and v.is_floating_point()]
    if not named:
        return None
    # One sum each and one transfer for all: NaN and infinity survive a sum.
    sums = torch.stack([value.detach().sum(dtype=torch.float64) for _, value in named])
    for (name, value), finite in zip(named, sums.isfinite().tolist(), strict=True):
        if not finite and not bool(value.isfinite().all()):
            return name
    return None


def _check_same_run(
    path: Path, content: Mapping[str, Any], config: TrainingConfig, described: Mapping[str, Any]
) -> None:
    before = TrainingConfig.from_dict(content["config"])
    field = config.difference(before)
    if field is not None:
        _refuse(path, field, getattr(before, field), getattr(config, field))
    for part in ("data", "settings"):
        old, new = content["run"][part], described[part]
        for name in [*new, *(name for name in old if name not in new)]:
            if old.get(name) != new.get(name):
                _refuse(path, f"{part} {name!r}", old.get(name), new.get(name))
    lines = content["run"]["objective"], described["objective"]
    if lines[0] != lines[1]:
        changed = list(difflib.ndiff(*lines))
        was = next((line[2:].strip() for line in changed if line.startswith("- ")), None)
        now = next((line[2:].strip() for line in changed if line.startswith("+ ")), None)
        _refuse(path, "regularizer", was, now)


def _check_same_tensors(path: Path, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    for name in [*new, *(name for name in old if name not in new)]:
        was, now = _shape(old.get(name)), _shape(new.get(name))
        if was != now:
            _refuse(path, f"network: {name}", was, now)


def _shape(value: Any) -> tuple[int, ...] | None:
    return tuple(value.shape) if isinstance(value, torch.Tensor) else None


def _refuse(path: Path, name: str, before: Any, now: Any) -> NoReturn:
    raise ValueError(
        f"cannot resume from {path} with another {name}: the run began with {before!r}, got "
        f"{now!r}; give it the same, or train in another folder"
    )
