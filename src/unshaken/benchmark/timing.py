"""How long steps take, as ratios to the plain step measured around them."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from unshaken.benchmark.contenders import Contender, Field

TURN = 0.2
"""Seconds that a contender's turn takes at least."""


@dataclass
class Times:
    """What one contender took in each round.

    Attributes:
        seconds: of a step.
        ratios: to the plain step, which was measured right before and right after.
    """

    seconds: list[float] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)


def clock_of(device: torch.device, threads: int) -> str:
    """How time is measured: ``"device events"``, ``"CPU time"`` or ``"wall clock"``."""
    if device.type == "cuda":
        return "device events"
    return "CPU time" if threads == 1 else "wall clock"


def seconds_of(run: Callable[[], None], steps: int, clock: str) -> float:
    """Seconds that one of ``steps`` calls takes."""
    if clock == "device events":
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        for _ in range(steps):
            run()
        end.record()
        torch.cuda.synchronize()
        return begin.elapsed_time(end) / 1000 / steps
    # CPU time leaves out what other programs of the machine do, but adds up several threads.
    now = time.process_time if clock == "CPU time" else time.perf_counter
    start = now()
    for _ in range(steps):
        run()
    return (now() - start) / steps


def race(
    contenders: Field,
    rounds: int,
    clock: str,
    *,
    turn: float = TURN,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Times, list[Times]]:
    """Interleaved rounds: in each one every contender has a turn, in an order that changes.

    The plain step has a turn between any two others, so that a ratio compares neighbors in time:
    on a machine with other work its speed drifts within a round.

    Args:
        contenders: who takes part.
        rounds: how many.
        clock: of :func:`clock_of`.
        turn: seconds that a turn takes at least.
        progress: told of the turns that are done and of all.

    Returns:
        The plain step's times, whose ratios are those of its own turns to their mean in the
        round, and those of the others in their order.
    """
    plain, others = contenders.plain, contenders.others
    counts = {id(c): _steps(c, clock, turn) for c in (plain, *others)}
    own, found = Times(), [Times() for _ in others]
    done, order = 0, random.Random(0)
    for _ in range(rounds):
        places = list(range(len(others)))
        order.shuffle(places)
        before = _turn(plain, counts[id(plain)], clock)
        turns = [before]
        for place in places:
            contender = others[place]
            seconds = _turn(contender, counts[id(contender)], clock)
            after = _turn(plain, counts[id(plain)], clock)
            turns.append(after)
            found[place].seconds.append(seconds)
            found[place].ratios.append(2 * seconds / (before + after))
            before = after
            done += 1
            if progress is not None:
                progress(done, rounds * len(others))
        mean = sum(turns) / len(turns)
        own.seconds += turns
        own.ratios += [seconds / mean for seconds in turns]
    return own, found


def _turn(contender: Contender, steps: int, clock: str) -> float:
    if steps > contender.period:
        # On short steps the first one pays for caches that the contender before it has filled.
        for _ in range(contender.period):
            contender.step()
    seconds = seconds_of(contender.step, steps, clock)
    contender.clear()
    return seconds


def _steps(contender: Contender, clock: str, turn: float) -> int:
    """Warm up, and see how many steps make a turn: whole periods."""
    seconds_of(contender.step, contender.period, clock)
    seconds = seconds_of(contender.step, contender.period, clock)
    contender.clear()
    return contender.period * max(1, math.ceil(turn / max(seconds, 1e-6) / contender.period))


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """The lower quartile, the median and the upper quartile, interpolated."""
    ordered = sorted(values)

    def at(share: float) -> float:
        place = share * (len(ordered) - 1)
        low = math.floor(place)
        high = min(low + 1, len(ordered) - 1)
        return ordered[low] + (place - low) * (ordered[high] - ordered[low])

    return at(0.25), at(0.5), at(0.75)
