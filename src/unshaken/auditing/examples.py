"""The examples of an audit, from whatever holds them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from unshaken import checks


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
        x, y = _gathered(data, count)
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
        raise TypeError(
            "data must be (x, y), x, a loader of such batches, or a Dataset, got "
            f"{type(data).__name__}"
        ) from None
    for batch in batches:
        pair = isinstance(batch, (tuple, list))
        xs.append(torch.as_tensor(batch[0] if pair else batch))
        if pair and len(batch) > 1:
            ys.append(torch.as_tensor(batch[1]))
        if count is not None and sum(map(len, xs)) >= count:
            break
    if not xs:
        raise ValueError("data must hold at least one example, got an empty loader")
    labels = torch.cat(ys)[:count] if len(ys) == len(xs) else None
    return torch.cat(xs)[:count], labels


def _is_array(value: Any) -> bool:
    return isinstance(value, (Tensor, np.ndarray))
