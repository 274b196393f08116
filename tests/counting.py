"""Counts what passes over a network really compute: forward, input-gradient and weight-gradient."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

WIDTHS = (11, 13, 17, 19, 5)
"""All different, and different from the batch: a product's shape says which one it is."""
BATCH = 7
PRODUCTS = {torch.ops.aten.mm.default, torch.ops.aten.addmm.default}


def network(widths: tuple[int, ...] = WIDTHS) -> nn.Sequential:
    """A plain stack of linear layers with rectifiers, without biases."""
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(widths):
        layers += [nn.Linear(inputs, outputs, bias=False), nn.LeakyReLU(0.1)]
    return nn.Sequential(*layers[:-1])


class _Counter(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[tuple[str, int]] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func in PRODUCTS:
            a, b = args[-2], args[-1]
            assert isinstance(a, Tensor) and isinstance(b, Tensor)
            self._note(tuple(a.shape), tuple(b.shape))
        return out

    def _note(self, a: tuple[int, ...], b: tuple[int, ...]) -> None:
        rows, inner, columns = a[0], a[1], b[1]
        for layer, (inputs, outputs) in enumerate(itertools.pairwise(WIDTHS)):
            if {inner, columns} == {inputs, outputs} and rows == BATCH:
                kind = "forward" if inner == inputs else "input"
                self.found[kind, layer] += 1
            elif {rows, columns} == {inputs, outputs} and inner == BATCH:
                self.found["weight", layer] += 1


@contextmanager
def counted() -> Iterator[Counter[tuple[str, int]]]:
    """Products with each layer's weight inside the block: ``{("forward", layer): times, ...}``."""
    with _Counter() as mode:
        yield mode.found
