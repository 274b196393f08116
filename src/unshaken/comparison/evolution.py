"""What is inside a run, kept as arrays: masks as they are learned, and the weights at the end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from unshaken.adversaries.base import Problem
from unshaken.adversaries.learned import MaskPlayer
from unshaken.comparison import gallery
from unshaken.objective import Objective
from unshaken.passes import CleanPass
from unshaken.regularizer import Regularizer

KEPT = 2000
"""Weights of a layer that are kept: evenly spaced in their order, enough for a histogram."""


def mask_term(objective: Objective) -> Regularizer | None:
    """The first term whose masks are learned."""
    for term in objective.regularizers:
        if isinstance(term, Regularizer) and isinstance(term.adversary, MaskPlayer):
            return term
    return None


class MaskSnapshots:
    """``log α`` of a few examples at every evaluation (xVAT, figure 5a).

    Args:
        term: a regularizer with a learned mask.
        x: the examples ``(N, C, *size)``.
        index: which of the training inputs they are.
        path: where it is kept after each evaluation.
        resume: whether to go on from what ``path`` holds.
    """

    def __init__(
        self, term: Regularizer, x: Tensor, index: Tensor, path: Path, resume: bool = False
    ) -> None:
        self._term, self._x, self._index, self.path = term, x, index, path
        self.steps: list[int] = []
        self.found: list[np.ndarray[Any, Any]] = []
        if resume:
            for arrays in gallery.load(path.parent, [path.stem]):
                self.steps, self.found = arrays["steps"].tolist(), list(arrays["log_alpha"])

    def __call__(self, model: nn.Module, step: int) -> None:
        player = self._term.adversary
        if not isinstance(player, MaskPlayer):
            return
        like = next(model.parameters())
        clean = CleanPass(model, self._x.to(like), index=self._index.to(like.device))
        problem = Problem(clean, self._term.perturbation, self._term.divergence)
        with torch.no_grad():
            found = player.log_alpha(problem).float().cpu().numpy()
        # A resumed run may look at a moment again that an earlier process saw.
        while self.steps and self.steps[-1] >= step:
            self.steps.pop()
            self.found.pop()
        self.steps.append(step)
        self.found.append(found)
        arrays = {"steps": np.array(self.steps), "log_alpha": np.stack(self.found)}
        gallery.save(self.path, {**arrays, "x": self._x.float().numpy()})


def weights_of(model: nn.Module) -> dict[str, Any]:
    """The weights of each linear and convolution layer in rising order, thinned out, by name."""
    kinds = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
    found = {}
    for name, layer in model.named_modules():
        if isinstance(layer, kinds):
            values = layer.weight.detach().float().flatten().sort().values
            chosen = torch.linspace(0, len(values) - 1, min(KEPT, len(values))).round().long()
            found[name or "weight"] = values[chosen.to(values.device)].cpu().numpy()
    return found
