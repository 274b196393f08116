"""When a run saves and when it stops, agreed between all processes."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from typing import NamedTuple

from .config import TrainingConfig
from .interruption import SignalWatch
from .meter import NonFinite
from .runtime import Runtime

__all__ = ["Decision", "Pace"]

_SHARE = 0.02  # of the time that checkpoints may take when no period is given
_APART = 1.0  # seconds that they are at least apart then
_AGREE = 1.0  # seconds after which several processes tell each other what they noticed


class Decision(NamedTuple):
    """What to do after a step.

    Attributes:
        stop: the signal that ends the run, or None.
        save: whether a checkpoint is due.
        bad: the first value that is not finite, or None.
    """

    stop: signal.Signals | None
    save: bool
    bad: NonFinite | None


_GO_ON = Decision(None, False, None)


class Pace:
    """Decides after each step.

    One process decides by itself. Several exchange what each noticed (a signal, a loss that is
    not finite, the time) about once a second and whenever ``must`` is set, so that all of them
    stop, save and evaluate after the same step.
    """

    def __init__(
        self, config: TrainingConfig, runtime: Runtime, watch: SignalWatch, *, saving: bool
    ) -> None:
        self._every = config.checkpoint_every
        self._seconds = config.checkpoint_seconds
        self._automatic = self._every is None and self._seconds is None
        self._runtime, self._watch, self._saving = runtime, watch, saving
        self._saved_at = self._agreed_at = time.monotonic()
        self._cost = 0.0
        self._interval = self._until = 1

    def saved(self, seconds: float) -> None:
        """A checkpoint was written; it took this long."""
        self._saved_at = time.monotonic()
        self._cost = seconds

    def after_step(
        self, step: int, settle: Callable[[], NonFinite | None], *, must: bool
    ) -> Decision:
        """Decide after ``step`` steps are done.

        Args:
            step: number of steps done.
            settle: reads the loss values that are still on the device.
            must: an evaluation or the end of the run comes now, which all processes know.
        """
        by_step = self._saving and self._every is not None and step % self._every == 0
        if self._runtime.world_size == 1:
            save = by_step or self._by_time()
            stop = self._watch.received
            # A stop saves too, and a checkpoint holds no values that are still on the device.
            bad = settle() if save or must or stop is not None else None
            return Decision(stop, save, bad)
        self._until -= 1
        if self._until > 0 and not (must or by_step):
            return _GO_ON
        return self._agree(by_step, settle())

    def _by_time(self) -> bool:
        if not self._saving or (self._seconds is None and not self._automatic):
            return False
        period = max(_APART, self._cost / _SHARE) if self._seconds is None else self._seconds
        return time.monotonic() - self._saved_at >= period

    def _agree(self, by_step: bool, bad: NonFinite | None) -> Decision:
        now = time.monotonic()
        mine = (self._watch.received, self._by_time(), bad, now - self._agreed_at)
        self._agreed_at = now
        signals, due, bads, seconds = zip(*self._runtime.gather(mine), strict=True)
        # All processes compute the next interval from the same numbers.
        slowest = max(seconds) / max(1, self._interval - self._until)
        self._interval = self._until = min(100, max(1, int(_AGREE / max(slowest, 1e-9))))
        first = min((b for b in bads if b is not None), key=lambda b: b.step, default=None)
        stop = next((s for s in signals if s is not None), None)
        return Decision(stop, by_step or due[0], first)
