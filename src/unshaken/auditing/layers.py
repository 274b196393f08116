"""Where in a network invariance is won or lost: what each layer makes of a small movement."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from unshaken.auditing.families import Family
from unshaken.perturbations.warp import warp

STEP = 0.5
"""Pixels (RMS) of the movement whose effect is measured."""

MOST = 40
"""Layers that are looked at unless named."""


@dataclass(frozen=True)
class _Lattice:
    """How a layer's output may lie over the input: which axes are space, and their strides."""

    channels_last: bool
    size: tuple[int, ...]
    strides: tuple[float, ...]

    def field(self, v: Tensor) -> Tensor:
        """The input's displacement on the output's lattice, in its pixels; centers coincide."""
        for j, (count, stride) in enumerate(zip(self.size, self.strides, strict=True), 2):
            last = v.shape[j] - 1
            steps = torch.arange(count, dtype=v.dtype, device=v.device) - (count - 1) / 2
            at = (last / 2 + stride * steps).clamp(0, last)
            low = at.floor().long()
            high = (low + 1).clamp(max=last)
            part = (at - low).reshape(-1, *[1] * (v.dim() - 1 - j))
            v = v.index_select(j, low) * (1 - part) + v.index_select(j, high) * part
        return v / v.new_tensor(self.strides).reshape(1, -1, *[1] * (v.dim() - 2))


@dataclass
class _Sums:
    """Squares summed over examples, for one layer."""

    change: float = 0.0
    size: float = 0.0
    fits: dict[_Lattice, list[float]] = field(default_factory=dict)

    def result(self) -> dict[str, float | None]:
        change = (self.change / self.size) ** 0.5 / STEP if self.size else None
        gaps = [(wrong / shift) ** 0.5 for wrong, shift in self.fits.values() if shift]
        return {"change": change, "equivariance error": min(gaps, default=None)}


class Layers:
    """Compares each layer's output for an input and for the input moved by :data:`STEP` pixels.

    ``change = ‖h(x') − h(x)‖ / ‖h(x)‖`` per pixel: small where the layers up to this one have made
    the movement invisible. ``equivariance error = ‖h(x') − h(x)'‖ / ‖h(x)' − h(x)‖``, with h(x)'
    the clean output moved as the input was, on its own lattice, whose center is the input's and
    whose stride is a whole number (the one that fits best where there is a choice): 0 where the
    output merely moves along, about 1 where it does not know of the movement. Norms are over
    examples and entries.

    Args:
        model: the network.
        names: which of its modules; its innermost ones, evenly at most :data:`MOST`, unless given.

    Raises:
        ValueError: there is no module of a name.
    """

    def __init__(self, model: nn.Module, names: Sequence[str] | None = None) -> None:
        modules = dict(model.named_modules())
        if names is None:
            leaves = [name for name, m in modules.items() if name and not any(m.children())]
            stride = max(1, -(-len(leaves) // MOST))
            kept = leaves[::stride]
            names = kept if not leaves or leaves[-1] in kept else [*kept, leaves[-1]]
        for name in names:
            if name not in modules:
                known = ", ".join(n for n in list(modules)[1:9])
                raise ValueError(f"layers must be names of modules, as {known}; got {name!r}")
        self._modules = {name: modules[name] for name in names}
        self._found: dict[str, dict[str, _Sums]] = {}

    def add(
        self,
        model: nn.Module,
        x: Tensor,
        families: Sequence[Family],
        generator: torch.Generator,
        padding: str,
    ) -> None:
        """Take in a batch, each example moved in a random direction of every family."""
        clean = self._outputs(model, x)
        for family in families:
            drawn = torch.randn(len(x), family.freedom, generator=generator).to(x.device)
            direction = drawn / drawn.norm(dim=1, keepdim=True)
            degree = torch.full((len(x),), STEP / family.pixels(1.0), device=x.device)
            v = family.displacement(x, direction, degree)
            moved = self._outputs(model, warp(x, v, padding))
            sums = self._found.setdefault(family.name, {})
            for name, h in clean.items():
                if name in moved and moved[name].shape == h.shape:
                    _take_in(sums.setdefault(name, _Sums()), h, moved[name], v, padding)

    def result(self) -> dict[str, list[dict[str, object]]]:
        """By family, each layer in the order of the network."""
        return {
            family: [
                {"layer": name, "type": type(self._modules[name]).__name__, **sums[name].result()}
                for name in self._modules
                if name in sums
            ]
            for family, sums in self._found.items()
        }

    def _outputs(self, model: nn.Module, x: Tensor) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}

        handles = [m.register_forward_hook(_keeper(found, n)) for n, m in self._modules.items()]
        try:
            with torch.no_grad():
                model(x)
        finally:
            for handle in handles:
                handle.remove()
        return found


def _keeper(found: dict[str, Tensor], name: str) -> Callable[[nn.Module, Any, Any], None]:
    def hook(module: nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.is_floating_point():
            found[name] = output.detach().clone()

    return hook


def _take_in(sums: _Sums, clean: Tensor, moved: Tensor, v: Tensor, padding: str) -> None:
    difference = (moved - clean).float()
    sums.change += float(difference.square().sum())
    sums.size += float(clean.float().square().sum())
    for lattice in _lattices(tuple(clean.shape[1:]), tuple(v.shape[2:])):
        h, other = clean.float(), moved.float()
        if lattice.channels_last:
            h, other = h.movedim(-1, 1), other.movedim(-1, 1)
        along = warp(h, lattice.field(v), padding)
        fit = sums.fits.setdefault(lattice, [0.0, 0.0])
        fit[0] += float((other - along).square().sum())
        fit[1] += float((along - h).square().sum())


def _lattices(shape: tuple[int, ...], size: tuple[int, ...]) -> list[_Lattice]:
    """The ways in which an output ``(N, *shape)`` may lie over inputs of that size.

    Channels come first wherever that gives one whole stride along all axes. Else, as where a
    convolution crops, both neighboring whole strides are looked at, with channels first and last.
    """
    if len(shape) != len(size) + 1:
        return []
    first = _strided(False, shape[1:], size)
    if len(first) == 1 and len(set(first[0].strides)) == 1:
        return first
    return [*first, *_strided(True, shape[:-1], size)]


def _strided(last: bool, own: tuple[int, ...], size: tuple[int, ...]) -> list[_Lattice]:
    if min(own) < 2:
        return []
    found = []
    for whole in (math.floor, math.ceil):
        strides = tuple(
            float(whole(a / b)) if a >= b else 1 / whole(b / a)
            for a, b in zip(size, own, strict=True)
        )
        found.append(_Lattice(last, own, strides))
    return list(dict.fromkeys(found))
