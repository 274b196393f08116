"""Checks of what a caller passes in: one sentence that names the argument, no GPU wait.

On the CPU a bad value is reported at once. On an accelerator reading a value would stall the
device, so the verdict is fetched in the background and reported at a later call, which says so.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral, Real
from typing import Any

import torch
from torch import Tensor

_LARGEST = (1 << 63) - 1
Look = tuple[Tensor, int, str, int | None]
"""Values, the limit that they must lie below, their name, and a value that is right as well."""


def radius(value: Any, name: str = "radius") -> float:
    """``value`` as a finite number >= 0."""
    return number(value, name, low=0.0)


def number(
    value: Any, name: str, *, low: float = -math.inf, high: float = math.inf, open_low: bool = False
) -> float:
    """``value`` as a finite float in ``[low, high]``."""
    wanted = "a finite number"
    if low > -math.inf:
        wanted += f" {'>' if open_low else '>='} {low:g}"
    if high < math.inf:
        wanted += f"{' and' if low > -math.inf else ''} <= {high:g}"
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be {wanted}, got {value!r}")
    result = float(value)
    if not math.isfinite(result) or not low <= result <= high or (open_low and result == low):
        raise ValueError(f"{name} must be {wanted}, got {value!r}")
    return result


def integer(value: Any, name: str, *, low: int = 1) -> int:
    """``value`` as an integer >= ``low``."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name} must be an integer >= {low}, got {value!r}")
    if value < low:
        raise ValueError(f"{name} must be an integer >= {low}, got {value}")
    if int(value) > _LARGEST:
        raise ValueError(f"{name} must be an integer of at most 63 bits, got {value}")
    return int(value)


def choice(value: Any, name: str, options: tuple[Any, ...]) -> Any:
    """``value`` if it is one of ``options``."""
    if value not in options:
        known = ", ".join(repr(option) for option in options)
        raise ValueError(f"{name} must be one of {known}; got {value!r}")
    return value


def inputs(x: Any, name: str = "x") -> None:
    """A floating-point tensor ``(N, ...)`` with N >= 1 and only finite values."""
    if not isinstance(x, Tensor):
        raise TypeError(f"{name} must be a torch.Tensor, got {type(x).__name__}")
    if x.is_complex():
        raise TypeError(
            f"{name} must be a tensor of real numbers, got {x.dtype}; give its real and imaginary "
            f"parts, as torch.view_as_real({name}), and join them in the model"
        )
    if not x.is_floating_point():
        raise TypeError(
            f"{name} must be a floating-point tensor, got {x.dtype}; convert it with "
            f"{name}.float(), or perturb an embedding of it"
        )
    if x.dim() < 2 or x.shape[0] == 0:
        raise ValueError(
            f"{name} must have shape (N, D) or (N, C, *size) with N >= 1, got {tuple(x.shape)}"
        )
    _WATCH.finite(x, name)


def labels(
    y: Any, count: int, outputs: Tensor, name: str = "y", ignore: int | None = None
) -> Tensor:
    """Class indices ``(N, ...)`` or probabilities ``(N, C, ...)`` that fit ``outputs``.

    The class index ``ignore`` stands for no label.

    Returns the labels; on an accelerator those out of range are moved inside, so that no kernel
    faults before the clear report of the next call.
    """
    if not isinstance(y, Tensor):
        raise TypeError(f"{name} must be a torch.Tensor, got {type(y).__name__}")
    if y.dim() == 0 or y.shape[0] != count:
        raise ValueError(
            f"{name} must hold one label for each of the {count} examples of x, "
            f"got shape {tuple(y.shape)}"
        )
    if y.is_floating_point():
        if y.shape != outputs.shape:
            raise ValueError(
                f"{name} must be class indices (int64) or probabilities of shape "
                f"{tuple(outputs.shape)}, got {y.dtype} of shape {tuple(y.shape)}"
            )
        return y
    if y.dtype == torch.bool or y.is_complex():
        raise TypeError(f"{name} must be class indices of an integer type, got {y.dtype}")
    expected = (outputs.shape[0], *outputs.shape[2:])
    if outputs.dim() < 2 or tuple(y.shape) != expected:
        raise ValueError(
            f"{name} must have shape {expected} for outputs of shape {tuple(outputs.shape)}, "
            f"got {tuple(y.shape)}"
        )
    return _WATCH.in_range(y.long(), outputs.shape[1], name, ignore)


def indices(index: Any, count: int, limit: int, name: str = "index") -> Tensor:
    """Example indices ``(N,)`` in ``[0, limit)``."""
    if index is None:
        raise ValueError(
            f"{name} is needed: a term that keeps something for each training example has to know "
            f"which these are; pass the indices of the {count} examples as {name}="
        )
    if not isinstance(index, Tensor) or index.is_floating_point() or index.dtype == torch.bool:
        got = index.dtype if isinstance(index, Tensor) else type(index).__name__
        raise TypeError(f"{name} must be an integer tensor of shape ({count},), got {got}")
    if tuple(index.shape) != (count,):
        raise ValueError(f"{name} must have shape ({count},), got {tuple(index.shape)}")
    return _WATCH.in_range(index.long(), limit, name)


class _Watch:
    """Value checks; on an accelerator their verdict arrives without waiting for the device."""

    def __init__(self) -> None:
        self.pending: deque[tuple[torch.cuda.Event, Tensor, str]] = deque(maxlen=64)
        self.written: list[Look] | None = None

    def finite(self, x: Tensor, name: str) -> None:
        if torch.compiler.is_compiling():
            return  # compiled code looks at no values; they were checked before
        message = f"{name} must hold finite values, got NaN or infinity"
        if x.device.type == "cuda":
            self._later(~torch.isfinite(x.detach().sum(dtype=torch.float32)), message)
        elif x.device.type == "cpu":
            # One reduction settles almost every batch; only an odd sum is worth a full look.
            total = x.detach().sum()
            if not math.isfinite(total.item()) and not bool(torch.isfinite(x).all()):
                bad = (~torch.isfinite(x.reshape(x.shape[0], -1))).any(1).nonzero()[0].item()
                raise ValueError(f"{message} in example {bad} of the batch")

    def in_range(self, values: Tensor, limit: int, name: str, ignore: int | None = None) -> Tensor:
        if torch.compiler.is_compiling():
            return values
        if self.written is not None:
            self.written.append((values, limit, name, ignore))
        message = f"{name} must lie in 0..{limit - 1}"
        if values.device.type == "cuda":
            bad = _outside(values, limit, ignore)
            self._later(bad.any(), message + ", got a value outside")
            return values.where(~bad, 0)
        if values.device.type == "cpu" and values.numel():
            low, high = torch.aminmax(values)
            if low.item() < 0 or high.item() >= limit:
                bad = values[_outside(values, limit, ignore)]
                if not len(bad):
                    return values
                worst = int(bad.min()) if bad.min() < 0 else int(bad.max())
                hint = (
                    "; unlabeled examples belong in unlabeled="
                    if name == "y" and worst == -1
                    else ""
                )
                raise ValueError(f"{message}, got {worst}{hint}")
        return values

    def _later(self, bad: Tensor, message: str) -> None:
        if torch.cuda.is_current_stream_capturing():
            return
        while self.pending and self.pending[0][0].query():
            _, flag, earlier = self.pending.popleft()
            if bool(flag):
                self.pending.clear()
                raise ValueError(f"{earlier} in this or an earlier batch")
        flag = torch.empty((), dtype=torch.bool, pin_memory=True)
        flag.copy_(bad, non_blocking=True)
        event = torch.cuda.Event()
        event.record()
        self.pending.append((event, flag, message))


def _outside(values: Tensor, limit: int, ignore: int | None) -> Tensor:
    bad = (values < 0) | (values >= limit)
    return bad if ignore is None else bad & (values != ignore)


_WATCH = _Watch()


@contextmanager
def written_down() -> Iterator[list[Look]]:
    """Inside, every look at a range is added to the list."""
    before, _WATCH.written = _WATCH.written, []
    try:
        yield _WATCH.written
    finally:
        _WATCH.written = before


def in_range(values: Tensor, limit: int, name: str, ignore: int | None = None) -> Tensor:
    """Integers in ``[0, limit)``, or ``ignore``; on an accelerator those outside become 0."""
    return _WATCH.in_range(values, limit, name, ignore)
