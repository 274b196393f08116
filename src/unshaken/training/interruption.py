"""Stopping on request: SIGTERM and SIGINT end a run after the step that is under way."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

__all__ = ["Interrupted", "SignalWatch", "StopEvaluation"]

_WATCHED = (signal.SIGTERM, signal.SIGINT)


class Interrupted(RuntimeError):
    """A signal ended the run before its last step; its state is in ``checkpoint``.

    Attributes:
        signal: the signal that came.
        step: number of steps that are done.
        checkpoint: the file that ``resume=True`` starts from, or None without a run folder.
        exit_code: what a program that ends because of this should return, 128 + the signal.
    """

    def __init__(self, received: signal.Signals, step: int, checkpoint: Path | None) -> None:
        kept = (
            f"resume from {checkpoint}"
            if checkpoint is not None
            else "nothing was kept because there is no run folder (out=None)"
        )
        super().__init__(f"stopped by {received.name} after step {step}; {kept}")
        self.signal = received
        self.step = step
        self.checkpoint = checkpoint
        self.exit_code = 128 + int(received)


class StopEvaluation(BaseException):
    """Raised inside an evaluation that a signal cuts short; the resumed run does it again."""


class SignalWatch:
    """Notes SIGTERM and SIGINT instead of dying; a second SIGINT stops at once.

    Does nothing outside the main thread, where Python allows no handlers. The handlers that were
    there before are restored on leaving, also after an error.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}
        self._evaluating = False

    def __enter__(self) -> SignalWatch:
        if threading.current_thread() is threading.main_thread():
            for number in _WATCHED:
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            # None stands for a handler that was not installed from Python.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._before.clear()

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        if self.received is None:
            self.received = signal.Signals(number)
        if self._evaluating:
            self._evaluating = False
            raise StopEvaluation

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Inside, a signal raises :class:`StopEvaluation`: an evaluation may take minutes."""
        self._evaluating = True
        try:
            if self.received is not None:
                raise StopEvaluation
            yield
        finally:
            self._evaluating = False
