"""The pictures that one run of a comparison leaves behind."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from unshaken.comparison import gallery
from unshaken.comparison.evaluation import Evaluation
from unshaken.comparison.evolution import MaskSnapshots, mask_term, weights_of
from unshaken.regularizer import Term
from unshaken.training.checkpoint import checkpoints

if TYPE_CHECKING:
    from unshaken.comparison.single import Prepared

SHOWN = 6
"""Examples in the pictures of worst perturbations."""

SHOWN_MASKS = 3
"""Examples whose masks are kept over training."""


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


def watch_masks(
    measure: Evaluation,
    method: str,
    prepared: Prepared,
    pictures: Path | None,
    out: Path | None = None,
    resume: bool = False,
) -> None:
    """Let an evaluation keep the masks of a few images, where they are learned."""
    term = mask_term(prepared.objective)
    if pictures is None or term is None or len(prepared.dataset.size) != 2:
        return
    index = _one_of_each_class(prepared)[:SHOWN_MASKS]
    goes_on = resume and out is not None and bool(checkpoints(out / "checkpoints"))
    path = pictures / "masks" / f"{method}.npz"
    x = prepared.dataset.x_train[index]
    measure.snapshots.append(MaskSnapshots(term, x, index, path, goes_on))


def keep_pictures(
    folder: Path,
    method: str,
    prepared: Prepared,
    model: nn.Module,
    boundary: gallery.BoundarySnapshots | None,
) -> None:
    """Keep the weights, the boundary and the worst perturbations of a few of each class."""
    gallery.save(folder / "weights" / f"{method}.npz", weights_of(model))
    if boundary is not None and boundary.steps:
        gallery.save(folder / "boundaries" / f"{method}.npz", boundary.arrays())
    if not prepared.dataset.size:
        return
    found, index = prepared.dataset, _one_of_each_class(prepared)[:SHOWN]
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


def _one_of_each_class(prepared: Prepared) -> Tensor:
    """Training examples, because a mask table has rows for no others."""
    index = prepared.chosen.labeled[: 4 * SHOWN]
    classes = prepared.dataset.y_train[index]
    return index[torch.tensor([int((classes == k).nonzero()[0]) for k in classes.unique()])]
