"""The pictures that one run of a comparison leaves behind."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from unshaken.comparison import gallery
from unshaken.comparison.evaluation import Evaluation
from unshaken.regularizer import Term
from unshaken.training.checkpoint import checkpoints

if TYPE_CHECKING:
    from unshaken.comparison.single import Prepared

SHOWN = 6
"""Examples in the pictures of worst perturbations."""


def watch_boundary(
    measure: Evaluation,
    method: str,
    prepared: Prepared,
    pictures: Path | None,
    out: Path | None = None,
    resume: bool = False,
) -> gallery.BoundarySnapshots | None:
    """Let an evaluation take pictures of the boundary, where there is a plane to draw it in."""
    if pictures is None or prepared.dataset.plane is None:
        return None
    boundary = gallery.BoundarySnapshots(
        method,
        prepared.dataset,
        prepared.chosen,
        None if out is None else pictures / "boundaries" / f"{method}.npz",
        resume and out is not None and bool(checkpoints(out / "checkpoints")),
    )
    measure.snapshots.append(boundary)
    return boundary


def keep_pictures(
    folder: Path,
    method: str,
    prepared: Prepared,
    model: nn.Module,
    boundary: gallery.BoundarySnapshots | None,
) -> None:
    """Keep the boundary and the worst perturbations of a few examples of each class."""
    if boundary is not None and boundary.steps:
        gallery.save(folder / "boundaries" / f"{method}.npz", boundary.arrays())
    if not prepared.dataset.size:
        return
    # Training examples, because a mask table has rows for no others.
    found = prepared.dataset
    index = prepared.chosen.labeled[: 4 * SHOWN]
    first = [int((found.y_train[index] == k).nonzero()[0]) for k in found.y_train[index].unique()]
    index = index[torch.tensor(first[:SHOWN])]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        arrays = gallery.panel_arrays(
            method,
            [t for t in prepared.objective.regularizers if isinstance(t, Term)],
            model,
            found.x_train[index],
            found.y_train[index],
            index,
        )
    if arrays is not None:
        gallery.save(folder / "panels" / f"{method}.npz", arrays)
