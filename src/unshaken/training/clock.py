"""Seconds per step: the median over blocks of steps, without evaluations and checkpoints."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

import torch

__all__ = ["StepClock"]


class StepClock:
    """Measures training steps only.

    On the CPU this is CPU time of the process (``time.process_time``), which other programs on
    the machine hardly disturb. Work on an accelerator takes no CPU time, so there it is wall time
    between moments at which the device is waited for.

    Args:
        device: where the steps run.
        block: steps in a block; 16 on the CPU, 64 elsewhere, where each block's end waits.
        limit: blocks kept; when they are full every second one is dropped and blocks double in
            length, so that a run of any length keeps a small sample spread over all of it.
    """

    def __init__(self, device: torch.device, block: int | None = None, limit: int = 1024) -> None:
        self._cpu = device.type == "cpu"
        self._device = device
        self._time: Callable[[], float] = time.process_time if self._cpu else time.perf_counter
        self._block = block or (16 if self._cpu else 64)
        self._limit = limit
        self._blocks: list[float] = []
        self._steps = 0
        self._start = 0.0

    def resume(self) -> None:
        """Start a block; what happened since :meth:`pause` is not counted."""
        self._wait()
        self._steps = 0
        self._start = self._time()

    def tick(self) -> None:
        """Count one step."""
        self._steps += 1
        if self._steps == self._block:
            self.pause()
            self.resume()

    def pause(self) -> None:
        """End the block under way."""
        if self._steps:
            self._wait()
            self._blocks.append((self._time() - self._start) / self._steps)
            self._steps = 0
            if len(self._blocks) >= self._limit:
                del self._blocks[::2]
                self._block *= 2

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)

    def seconds_per_step(self) -> float:
        """The median over the blocks; NaN where no step ran."""
        return statistics.median(self._blocks) if self._blocks else float("nan")

    def state(self) -> list[float]:
        """The blocks so far, for a checkpoint."""
        return list(self._blocks)

    def load(self, blocks: Sequence[float]) -> None:
        """Go on from the blocks of an earlier process."""
        self._blocks = list(blocks)
