"""Pure functions of the step: learning-rate schedules and ramps, each a factor in [0, 1]."""

from __future__ import annotations

import math
from collections.abc import Callable

__all__ = [
    "constant",
    "cosine",
    "cyclic",
    "exponential",
    "learning_rate_factor",
    "linear",
    "linear_ramp",
    "sigmoid_ramp",
    "swa_steps",
]

_KNOWN = (
    "'constant', 'linear:FRACTION', 'exponential:RATE:PERIOD', 'cosine' or 'cyclic:FRACTION:PERIOD'"
)


def constant(step: int) -> float:
    """1 at every step."""
    return 1.0


def linear(step: int, *, steps: int, fraction: float) -> float:
    """1 until ``fraction`` of the run, then linearly to zero.

    ``min(1, (T - t) / (T - fraction T))`` with t the step, counted from 0, and T ``steps``.
    """
    start = fraction * steps
    if step <= start:
        return 1.0
    return max(0.0, (steps - step) / (steps - start))


def exponential(step: int, *, rate: float, period: int) -> float:
    """``rate ** (step // period)``: one drop at the end of every ``period`` steps."""
    return rate ** (step // period)


def cosine(step: int, *, steps: int) -> float:
    """``(1 + cos(π t / T)) / 2`` (Loshchilov & Hutter 2017, without restarts)."""
    return (1.0 + math.cos(math.pi * min(step, steps) / steps)) / 2.0


def cyclic(step: int, *, steps: int, fraction: float, period: int) -> float:
    """A cosine to zero at ``S + period`` that from ``S = fraction · steps`` on repeats its last
    ``period`` steps before S (Athiwaratkun et al. 2019, figure 1).
    """
    start = round(fraction * steps)
    if step >= start:
        step = start - period + (step - start) % period
    return (1.0 + math.cos(math.pi * step / (start + period))) / 2.0


def swa_steps(swa: str, steps: int) -> tuple[int, int]:
    """The step of the first snapshot and the steps between two of ``"FRACTION:PERIOD"``.

    A PERIOD below 1 is a share of the run.

    Raises:
        TypeError, ValueError: it is not of that form.
    """
    if isinstance(swa, str):
        match _numbers(swa.split(":")):
            case [fraction, period] if 0.0 <= fraction < 1.0 and _is_period(period):
                return max(1, round(fraction * steps)), _period(period, steps)
    raise (ValueError if isinstance(swa, str) else TypeError)(
        "swa must be 'FRACTION:PERIOD' with FRACTION in [0, 1) and PERIOD a number of steps or a "
        f"share of the run in (0, 1), got {swa!r}"
    )


def linear_ramp(step: int, *, length: int) -> float:
    """``min(1, (t + 1) / length)``: the first step already moves, step ``length - 1`` is full."""
    return 1.0 if step + 1 >= length else (step + 1) / length


def sigmoid_ramp(step: int, *, length: int) -> float:
    """``exp(-5 (1 - t / length)²)``, 1 from ``length`` on (Laine & Aila 2017)."""
    if step >= length:
        return 1.0
    return math.exp(-5.0 * (1.0 - step / length) ** 2)


def learning_rate_factor(
    schedule: str, steps: int, *, warmup: int = 0, warmup_shape: str = "linear"
) -> Callable[[int], float]:
    """The factor of the learning rate at each step, counted from 0.

    Args:
        schedule: ``"constant"``; ``"linear:F"``, constant until the fraction F and then linearly
            to zero; ``"exponential:RATE:PERIOD"``; ``"cosine"``; or ``"cyclic:F:PERIOD"``.
        steps: the length T of the run.
        warmup: length of the ramp that multiplies the schedule at the start.
        warmup_shape: ``"linear"`` or ``"sigmoid"``.

    Raises:
        ValueError: ``schedule`` is none of these.
    """
    base = _parse(schedule, steps)
    if warmup == 0:
        return base
    ramp = sigmoid_ramp if warmup_shape == "sigmoid" else linear_ramp
    return lambda step: base(step) * ramp(step, length=warmup)


def _parse(schedule: str, steps: int) -> Callable[[int], float]:
    if not isinstance(schedule, str):
        raise TypeError(f"schedule must be {_KNOWN}, got {schedule!r}")
    name, *parts = schedule.split(":")
    match name, _numbers(parts):
        case "constant", []:
            return constant
        case "cosine", []:
            return lambda step: cosine(step, steps=steps)
        case "linear", [fraction] if 0.0 <= fraction < 1.0:
            return lambda step: linear(step, steps=steps, fraction=fraction)
        case "exponential", [rate, period] if (
            0.0 < rate <= 1.0 and period >= 1.0 and _is_period(period)
        ):
            return lambda step: exponential(step, rate=rate, period=int(period))
        case "cyclic", [fraction, period] if 0.0 <= fraction < 1.0 and _is_period(period):
            length = _period(period, steps)
            if length > max(1, round(fraction * steps)):
                raise ValueError(
                    f"schedule {schedule!r} must have run for a PERIOD before it repeats one, but "
                    f"fraction {fraction:g} of {steps} steps is less than {length}"
                )
            return lambda step: cyclic(step, steps=steps, fraction=fraction, period=length)
    raise ValueError(
        f"schedule must be {_KNOWN} with FRACTION in [0, 1), RATE in (0, 1] and PERIOD a number "
        f"of steps (of cyclic also a share of the run in (0, 1)), got {schedule!r}"
    )


def _numbers(parts: list[str]) -> list[float] | None:
    """The parts as numbers; None where one is none."""
    try:
        return [float(part) for part in parts]
    except ValueError:
        return None


def _is_period(value: float) -> bool:
    return value.is_integer() if value >= 1.0 else value > 0.0


def _period(value: float, steps: int) -> int:
    return int(value) if value >= 1.0 else max(1, round(value * steps))
