"""What happened between two evaluations: mean loss terms, and the first one not finite."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

__all__ = ["Meter", "NonFinite", "NonFiniteError"]


@dataclass(frozen=True)
class NonFinite:
    """Where a loss first was NaN or infinite.

    Attributes:
        step: the step, counted from 0.
        micro: which of the step's accumulated batches, counted from 0.
        terms: ``name=value`` of each term of the report that was not finite.
    """

    step: int
    micro: int
    terms: tuple[str, ...]


class NonFiniteError(RuntimeError):
    """Training stopped because the loss or a weight is NaN or infinite.

    Attributes:
        step: the step, counted from 0, in which it happened (or before which it was found).
        terms: the terms of the loss, or the names of the weights, that are not finite.
        labeled, unlabeled: indices of the examples in the batch (empty when it is not known).
        checkpoint: the last state that was kept, or None.
    """

    def __init__(
        self,
        what: str,
        *,
        step: int,
        terms: tuple[str, ...],
        labeled: tuple[int, ...] = (),
        unlabeled: tuple[int, ...] = (),
        checkpoint: Path | None = None,
    ) -> None:
        batch = ""
        if labeled:
            batch = f"; labeled batch: {_listed(labeled)}"
        if unlabeled:
            batch += f"; unlabeled batch: {_listed(unlabeled)}"
        kept = f"the last good state is {checkpoint}" if checkpoint else "no checkpoint was kept"
        super().__init__(f"{what} at step {step}: {', '.join(terms)}{batch}; {kept}")
        self.step = step
        self.terms = terms
        self.labeled = labeled
        self.unlabeled = unlabeled
        self.checkpoint = checkpoint


def _listed(indices: tuple[int, ...], limit: int = 10) -> str:
    shown = ", ".join(str(index) for index in indices[:limit])
    more = len(indices) - limit
    return f"[{shown}{f', ... {more} more' if more > 0 else ''}]"


class Meter:
    """Running means of the loss and its terms.

    On the CPU each value is read at once. On an accelerator that would stall the device in every
    step, so values stay there until :meth:`settle`, or for ``window`` calls of :meth:`add`.
    """

    def __init__(self, device: torch.device, window: int = 64) -> None:
        self._immediate = device.type == "cpu"
        self._window = window
        self._pending: list[tuple[int, int, tuple[str, ...], list[Tensor]]] = []
        self._sums: dict[str, float] = {}
        self._counts: dict[str, int] = {}
        self._bad: NonFinite | None = None

    def add(
        self, step: int, micro: int, loss: Tensor, report: Mapping[str, Any]
    ) -> NonFinite | None:
        """Note one batch; returns the first value found that is not finite, if any."""
        if self._immediate:
            values = {name: float(value) for name, value in report.items()}
            values.setdefault("loss", loss.item())
            self.take(step, micro, values)
        else:
            names = tuple(name for name, value in report.items() if isinstance(value, Tensor))
            tensors = [report[name].detach().reshape(()) for name in names]
            if "loss" not in names:
                names, tensors = (*names, "loss"), [*tensors, loss.detach()]
            self._pending.append((step, micro, names, tensors))
            if len(self._pending) >= self._window:
                self.settle()
        return self._bad

    def settle(self) -> NonFinite | None:
        """Read what is still on the device, in one transfer; returns what :meth:`add` does."""
        if self._pending:
            flat = torch.stack([value.double() for entry in self._pending for value in entry[3]])
            numbers = iter(flat.tolist())
            for step, micro, names, _ in self._pending:
                self.take(step, micro, {name: next(numbers) for name in names})
            self._pending.clear()
        return self._bad

    def take(self, step: int, micro: int, values: Mapping[str, float]) -> NonFinite | None:
        """As :meth:`add`, for values that are read already, the loss among them."""
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
            self._counts[name] = self._counts.get(name, 0) + 1
        if self._bad is None and not math.isfinite(sum(values.values())):
            terms = [(k, v) for k, v in values.items() if not math.isfinite(v)]
            # The total is not finite because a term is; name it only where it stands alone.
            named = [pair for pair in terms if pair[0] != "loss"] or terms
            if named:
                self._bad = NonFinite(step, micro, tuple(f"{k}={v}" for k, v in named))
        return self._bad

    def means(self) -> dict[str, float]:
        """The means since the last :meth:`reset`; call :meth:`settle` first."""
        return {name: total / self._counts[name] for name, total in self._sums.items()}

    def reset(self) -> None:
        """Start new means."""
        self._sums.clear()
        self._counts.clear()

    def state_dict(self) -> dict[str, Any]:
        """Sums and counts as plain values; call :meth:`settle` first."""
        return {"sums": dict(self._sums), "counts": dict(self._counts)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of :meth:`state_dict`."""
        self._sums = dict(state["sums"])
        self._counts = dict(state["counts"])
