"""An alarm for a regularizer that does nothing, instead of a quiet zero."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from unshaken.adversaries.base import Penalty
from unshaken.passes import CleanPass
from unshaken.regularizer import Regularizer

SILENT_CALLS = 5
EARLY_CALLS, EARLY_PERIOD, PERIOD = 64, 8, 50
LEAST_PROBES = 8
CALLS_IN_AN_EPOCH = 400


class AlarmWarning(UserWarning):
    """A term of the objective does nothing."""


@dataclass
class _Watched:
    """What is known of one term."""

    alive: bool = False
    silent: int = 0
    heard: Tensor | None = None
    gains: list[Tensor] = field(default_factory=list)
    sums: Tensor | None = None
    reported: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Reached:
    """What the probes of one term found, over the whole training.

    Attributes:
        adversary: the mean divergence that its adversary reached.
        random: that of a random perturbation of the same size, on the same examples.
        examples: how many there were.
    """

    adversary: float
    random: float
    examples: int


class Alarm:
    """Watches the terms of one objective and warns once for each, by name.

    It warns when a term's gradient is zero for every parameter in the first calls, and when an
    adversary raises the divergence no more than a random perturbation of the same size over a
    whole epoch (several where epochs are short): the mean gain over at least 8 probed batches
    lies below two standard errors. The first costs nothing; the second a search and two forward
    passes on one call in 50, and on one in 8 of the first 64. Random numbers are drawn as if it
    were not there. Nothing waits for an accelerator before the epoch's end.
    """

    def __init__(self) -> None:
        self.calls = 0
        self.calls_at_epoch = 0
        self._watched: dict[str, _Watched] = {}

    def watch(self, name: str, penalty: Penalty, learns: bool) -> None:
        """See whether the term's gradient ever differs from zero, in the caller's own backward.

        ``learns`` says whether anything that the gradient could reach has gradients at all.
        """
        if not self.listens(name):
            return
        signal = penalty.signal
        if signal is None or not signal.requires_grad or not learns:
            self.hear(name, None)
        else:
            signal.register_hook(lambda gradient: self.hear(name, gradient))

    def listens(self, name: str) -> bool:
        """Whether it is still open if the term does anything."""
        state = self._watched.setdefault(name, _Watched())
        return not state.alive and "gradient" not in state.reported

    def due(self) -> bool:
        """Whether this call should be probed; counts the calls."""
        self.calls += 1
        if self.calls - self.calls_at_epoch >= CALLS_IN_AN_EPOCH:
            self.end_epoch()
        return _is_probed(self.calls)

    @property
    def in_first_epoch(self) -> bool:
        """Whether no epoch has ended yet."""
        return self.calls_at_epoch == 0

    @property
    def next_is_due(self) -> bool:
        """Whether the call after this one should be probed."""
        return _is_probed(self.calls + 1)

    def probe(self, name: str, term: Regularizer, clean: CleanPass) -> None:
        """Compare the term's adversary with a random perturbation on this batch."""
        found = term.against_random(clean)
        if found is not None:
            self.note(name, *found)

    def note(self, name: str, adversary: Tensor, random: Tensor) -> None:
        """Take in the divergence that the adversary and its control reached: ``(N,)`` each."""
        state = self._watched.setdefault(name, _Watched())
        state.gains.append(adversary - random)
        count = torch.full_like(adversary, 1)
        sums = torch.stack([adversary, random, count]).sum(1, dtype=torch.float64)
        state.sums = sums if state.sums is None else state.sums.to(sums.device) + sums

    @property
    def reached(self) -> dict[str, Reached]:
        """How far each term's adversary came, and random, in training so far; by name."""
        sums = {name: s.sums.tolist() for name, s in self._watched.items() if s.sums is not None}
        return {name: Reached(a / n, r / n, int(n)) for name, (a, r, n) in sums.items()}

    def end_epoch(self) -> None:
        """Judge what was gathered since the last call of this."""
        self.calls_at_epoch = self.calls
        for name, state in self._watched.items():
            if state.heard is not None and not state.alive:
                state.alive = bool(state.heard)
                if not state.alive and state.silent >= SILENT_CALLS:
                    self._report_silence(name, state)
            if len(state.gains) >= LEAST_PROBES:
                # Those of an earlier process, from a checkpoint, are on the CPU.
                self._judge(name, state, torch.cat([gain.cpu() for gain in state.gains]).double())
                state.gains.clear()

    def state_dict(self) -> dict[str, Any]:
        """What was counted, gathered and said, as plain values and tensors on the CPU."""
        return {
            "calls": self.calls,
            "calls_at_epoch": self.calls_at_epoch,
            "terms": {
                name: {
                    "alive": state.alive,
                    "silent": state.silent,
                    "heard": None if state.heard is None else bool(state.heard),
                    "gains": [gain.cpu() for gain in state.gains],
                    "sums": None if state.sums is None else state.sums.cpu(),
                    "reported": dict(state.reported),
                }
                for name, state in self._watched.items()
            },
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`; what was said before is said again, once.

        So a run in several parts ends with the warnings of one in a single part.
        """
        self.calls, self.calls_at_epoch = state["calls"], state["calls_at_epoch"]
        self._watched = {}
        for name, term in state["terms"].items():
            heard = None if term["heard"] is None else torch.tensor(term["heard"])
            self._watched[name] = _Watched(**{**term, "heard": heard})
            for sentence in term["reported"].values():
                self.warn(sentence)

    def hear(self, name: str, gradient: Tensor | None) -> None:
        """Take in the gradient that reached the term in one call; None where none could."""
        state = self._watched.setdefault(name, _Watched())
        if gradient is None:
            self._silent(name, state)
            return
        heard = gradient.detach().any()
        if gradient.device.type == "cpu":
            if bool(heard):
                state.alive = True
            else:
                self._silent(name, state)
        else:
            state.silent += 1
            state.heard = heard if state.heard is None else state.heard.to(heard.device) | heard

    def _silent(self, name: str, state: _Watched) -> None:
        state.silent += 1
        if state.silent >= SILENT_CALLS and not state.alive:
            self._report_silence(name, state)

    def _report_silence(self, name: str, state: _Watched) -> None:
        self._report(
            state,
            "gradient",
            f"The term '{name}' does nothing: its gradient was zero for every parameter in its "
            f"first {state.silent} calls. Look at its radius and weight, and whether the model "
            "detaches its outputs or has no trainable parameters.",
        )

    def _judge(self, name: str, state: _Watched, gains: Tensor) -> None:
        mean = float(gains.mean())
        error = float(gains.std() / math.sqrt(len(gains))) if len(gains) > 1 else 0.0
        if not mean > 2 * error:
            self._report(
                state,
                "adversary",
                f"The adversary of '{name}' did no better than a random perturbation of the same "
                f"size for a whole epoch: it raised the divergence by only {mean:.2g} ± "
                f"{error:.2g} more ({len(gains)} examples). A random perturbation would cost "
                "less; or look at its radius and, where it learns, its learning rate.",
            )

    def _report(self, state: _Watched, kind: str, sentence: str) -> None:
        if kind not in state.reported:
            state.reported[kind] = sentence
            self.warn(sentence)

    def warn(self, sentence: str) -> None:
        """Say it."""
        warnings.warn(sentence, AlarmWarning, stacklevel=3)


def _is_probed(call: int) -> bool:
    period = EARLY_PERIOD if call <= EARLY_CALLS else PERIOD
    return call % period == period - 1
