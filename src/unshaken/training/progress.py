"""What a person sees while a run goes on: a bar on a terminal, plain lines on a pipe."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Protocol, TextIO

__all__ = ["LineProgress", "Progress", "RichProgress", "progress_for"]


class Progress(Protocol):
    """Shows how far a run is."""

    def start(self, step: int, total: int) -> None:
        """The run begins, or goes on, after ``step`` of ``total`` steps."""

    def advance(self, step: int) -> None:
        """``step`` steps are done; called after each, so it has to be quick."""

    def evaluated(self, step: int, metrics: Mapping[str, float]) -> None:
        """An evaluation gave these metrics."""

    def say(self, sentence: str) -> None:
        """Something worth knowing happened."""

    def close(self) -> None:
        """The run ended, also after an error."""


def progress_for(stream: TextIO | None = None, *, quiet: bool = False) -> Progress | None:
    """A bar where ``stream`` is a terminal, lines where it is not, None when ``quiet``.

    Args:
        stream: where to write; standard error unless given.
        quiet: show nothing.
    """
    if quiet:
        return None
    stream = sys.stderr if stream is None else stream
    return RichProgress(stream) if stream.isatty() else LineProgress(stream)


class LineProgress:
    """A line for each evaluation, and one every ``seconds`` in between."""

    def __init__(self, stream: TextIO, seconds: float = 30.0) -> None:
        self._stream = stream
        self._seconds = seconds

    def start(self, step: int, total: int) -> None:
        self._first, self._total = step, total
        self._began = self._shown = time.monotonic()

    def advance(self, step: int) -> None:
        if time.monotonic() - self._shown >= self._seconds:
            self._line(step, "")

    def evaluated(self, step: int, metrics: Mapping[str, float]) -> None:
        self._line(step, _short(metrics))

    def _line(self, step: int, text: str) -> None:
        self._shown = time.monotonic()
        rate = (step - self._first) / max(self._shown - self._began, 1e-9)
        left = ""
        if rate > 0:
            left = f"  {rate:.3g} steps/s, {_duration((self._total - step) / rate)} left"
        self.say(f"step {step}/{self._total}{left}{'  ' if text else ''}{text}")

    def say(self, sentence: str) -> None:
        print(sentence, file=self._stream, flush=True)

    def close(self) -> None:
        pass


class RichProgress:
    """A bar with the rate, the time left and the last metrics."""

    def __init__(self, stream: TextIO, refresh: float = 0.1) -> None:
        self._stream = stream
        self._refresh = refresh
        self._bar: Any = None

    def start(self, step: int, total: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar
        from rich.table import Column

        # Where the line is too short the metrics are cut, not the numbers before them.
        whole, rest = Column(no_wrap=True), Column(no_wrap=True, overflow="ellipsis", ratio=1)
        self._bar = Bar(
            BarColumn(bar_width=12, table_column=whole),
            MofNCompleteColumn(table_column=whole.copy()),
            TextColumn("{task.fields[rate]}", table_column=whole.copy()),
            TimeRemainingColumn(table_column=whole.copy()),
            TextColumn("{task.fields[metrics]}", table_column=rest),
            expand=True,
            console=Console(file=self._stream),
            # Drawn from advance(): a thread of its own would fight the training for the core.
            auto_refresh=False,
        )
        self._bar.start()
        self._task = self._bar.add_task("", total=total, completed=step, rate="", metrics="")
        self._first, self._began, self._shown = step, time.monotonic(), 0.0

    def advance(self, step: int) -> None:
        now = time.monotonic()
        if now - self._shown < self._refresh:
            return
        self._shown = now
        rate = (step - self._first) / max(now - self._began, 1e-9)
        self._bar.update(self._task, completed=step, rate=f"{rate:.3g} steps/s", refresh=True)

    def evaluated(self, step: int, metrics: Mapping[str, float]) -> None:
        self._bar.update(self._task, completed=step, metrics=_short(metrics), refresh=True)

    def say(self, sentence: str) -> None:
        if self._bar is None:
            print(sentence, file=self._stream, flush=True)
        else:
            self._bar.console.print(sentence, markup=False, highlight=False)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _short(metrics: Mapping[str, float]) -> str:
    shown = {k: v for k, v in metrics.items() if k not in ("step", "epoch", "lr")}
    return "  ".join(f"{name} {value:.4g}" for name, value in shown.items())


def _duration(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
