"""The examples of an audit, from whatever holds them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from unshaken import checks

_WANTED = (
    "data must be (x, y), x, a loader of such batches, a torch Dataset of such examples, or an "
    "unshaken.data.Dataset, tensors or arrays all of them"
)


def examples_of(data: Any, count: int | None) -> tuple[Tensor, Tensor | None]:
    """Inputs ``(N, C, *size)`` and labels of the first ``count`` examples, on the CPU."""
    if count is not None:
        checks.integer(count, "examples")
    if hasattr(data, "x_test"):
        x, y = data.x_test, data.y_test
        count = len(x) if count is None else min(count, len(x))
        x, y = x[:count], y[:count]
    elif isinstance(data, (Tensor, np.ndarray)):
        x, y = data[:count], None
    elif isinstance(data, (tuple, list)) and len(data) == 2 and _is_array(data[0]):
        x, y = data[0][:count], None if data[1] is None else data[1][:count]
    else:
        x, y = _gathered(DataLoader(data, 64) if isinstance(data, Dataset) else data, count)
    x = torch.as_tensor(np.asarray(x) if isinstance(x, np.ndarray) else x).detach().cpu()
    checks.inputs(x, "data")
    if not 3 <= x.dim() <= 5:
        raise ValueError(
            "data must be inputs (N, C, *size) with 1 to 3 spatial axes, got shape "
            f"{tuple(x.shape)}; give signals a channel axis with x[:, None]"
        )
    if y is None:
        return x, None
    y = torch.as_tensor(y).detach().cpu()
    if y.shape != (len(x),) or y.is_floating_point():
        raise ValueError(
            f"data must hold a class index for each of the {len(x)} inputs, got labels of type "
            f"{y.dtype} and shape {tuple(y.shape)}"
        )
    return x, y.long()


def _gathered(data: Any, count: int | None) -> tuple[Tensor, Tensor | None]:
    """The first examples of a loader."""
    xs: list[Tensor] = []
    ys: list[Tensor] = []
    try:
        batches = iter(data)
    except TypeError:
        raise TypeError(f"{_WANTED}, got {type(data).__name__}") from None
    for batch in batches:
        parts = list(batch) if isinstance(batch, (tuple, list)) else [batch]
        if not parts or not all(map(_is_array, parts[:2])):
            kinds = ", ".join(type(part).__name__ for part in parts[:2])
            raise TypeError(f"{_WANTED}, got {type(data).__name__} that gives {kinds or 'nothing'}")
        xs.append(torch.as_tensor(parts[0]))
        if len(parts) > 1:
            ys.append(torch.as_tensor(parts[1]))
        if count is not None and sum(map(len, xs)) >= count:
            break
    if not xs:
        raise ValueError("data must hold at least one example, got an empty loader")
    labels = torch.cat(ys)[:count] if len(ys) == len(xs) else None
    return torch.cat(xs)[:count], labels


def _is_array(value: Any) -> bool:
    return isinstance(value, (Tensor, np.ndarray))
