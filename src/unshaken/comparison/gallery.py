"""What a trained classifier's worst perturbations and boundaries look like, kept as arrays."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor, nn

from unshaken.data import Dataset, Split
from unshaken.perturbations import Mask, Movement
from unshaken.regularizer import Regularizer, Term
from unshaken.training.atomic import write_atomically
from unshaken.worst import Worst

# The pictures bring Matplotlib, for which a process that only trains need not wait.
if TYPE_CHECKING:
    from unshaken.pictures import Boundary, Panel

_GRID = 60


def panel_arrays(
    method: str,
    terms: Sequence[Term],
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    index: Tensor,
) -> dict[str, Any] | None:
    """The first term's worst perturbations of some examples, or None where it has none."""
    for term in terms:
        if isinstance(term, Regularizer):
            like = next(model.parameters())
            device = like.device
            was = model.training
            model.eval()
            try:
                worst = term.worst(model, x.to(like), y.to(device), index=index.to(device))
            finally:
                model.train(was)
            return {"method": method, **_arrays(worst)}
    return None


def _arrays(worst: Worst) -> dict[str, Any]:
    kind = "additive"
    if isinstance(worst.perturbation, Movement):
        kind = "movement"
    elif isinstance(worst.perturbation, Mask):
        kind = "mask"
    return {
        "kind": kind,
        "clean": worst.x.cpu().numpy(),
        "perturbed": worst.perturbed.cpu().numpy(),
        "displacement": worst.displacement.cpu().numpy() if kind == "movement" else None,
        "mask": worst.mask.cpu().numpy() if kind == "mask" else None,
        "value": worst.value.cpu().numpy(),
        "note": "rate per pixel" if worst.infinitesimal else "",
    }


class BoundarySnapshots:
    """The probability of class 1 on a grid of the plane, at every evaluation.

    Args:
        method: whose boundary it is.
        dataset: data in a plane.
        split: which of them are shown as labeled and unlabeled.
        path: where it is kept after each evaluation, for a run that may be resumed.
        resume: whether to go on from what ``path`` holds.
    """

    def __init__(
        self,
        method: str,
        dataset: Dataset,
        split: Split,
        path: Path | None = None,
        resume: bool = False,
    ) -> None:
        self.method, self.path = method, path
        plane = dataset.plane
        if plane is None:
            raise ValueError(f"{dataset.name} does not lie in a plane")
        self.unlabeled = (dataset.x_all[split.unlabeled] @ plane.T).numpy()
        self.labeled = (dataset.x_train[split.labeled] @ plane.T).numpy()
        self.classes = dataset.y_train[split.labeled].numpy()
        points = dataset.x_test @ plane.T
        low, high = points.min(0).values - 0.3, points.max(0).values + 0.3
        self.extent = tuple(float(v) for v in (low[0], high[0], low[1], high[1]))
        xs, ys = (torch.linspace(float(low[k]), float(high[k]), _GRID) for k in (0, 1))
        grid = torch.stack(torch.meshgrid(xs, ys, indexing="xy"), -1).reshape(-1, 2)
        self.inputs = grid @ plane
        self.steps: list[int] = []
        self.found: list[np.ndarray[Any, Any]] = []
        if path is not None and resume:
            self._recall(path)

    def __call__(self, model: nn.Module, step: int) -> None:
        first = next(model.parameters())
        with torch.no_grad():
            p = model(self.inputs.to(first)).softmax(1)[:, 1]
        # A resumed run may look at a moment again that an earlier process saw.
        while self.steps and self.steps[-1] >= step:
            self.steps.pop()
            self.found.pop()
        self.steps.append(step)
        self.found.append(p.reshape(_GRID, _GRID).float().cpu().numpy())
        if self.path is not None:
            save(self.path, self.arrays())

    def _recall(self, path: Path) -> None:
        for arrays in load(path.parent, [path.stem]):
            self.steps = arrays["steps"].tolist()
            self.found = list(arrays["probabilities"])

    def arrays(self) -> dict[str, Any]:
        """All of it by name."""
        return {
            "method": self.method,
            "steps": np.array(self.steps),
            "probabilities": np.stack(self.found),
            "extent": np.array(self.extent),
            "unlabeled": self.unlabeled,
            "labeled": self.labeled,
            "classes": self.classes,
        }


def save(path: Path, arrays: dict[str, Any]) -> None:
    """Keep arrays by name; None entries are left out."""
    kept: dict[str, Any] = {k: np.asarray(v) for k, v in arrays.items() if v is not None}

    def fill(file: IO[bytes]) -> None:
        # No allow_pickle: an older NumPy saves it as an array of that name.
        np.savez_compressed(file, **kept)

    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, fill)


def load(folder: Path, methods: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The arrays that were kept of each method; those missing or damaged are left out."""
    for path in (folder / f"{method}.npz" for method in methods):
        try:
            with path.open("rb") as content, np.load(content, allow_pickle=False) as file:
                yield {k: file[k].item() if file[k].ndim == 0 else file[k] for k in file.files}
        except (OSError, ValueError, EOFError, KeyError, BadZipFile, zlib.error):
            # Missing, or damaged after it was written: a report without it is still a report.
            continue


def panels(folder: Path, methods: Sequence[str]) -> list[Panel]:
    """The kept perturbations, in the order of ``methods``."""
    from unshaken.pictures import Panel

    none = {"displacement": None, "mask": None}
    return [Panel(**{**none, **arrays}) for arrays in load(folder, methods)]


def boundaries(folder: Path, methods: Sequence[str]) -> list[Boundary]:
    """The kept boundaries, in the order of ``methods``."""
    from unshaken.pictures import Boundary

    return [
        Boundary(**{**a, "steps": a["steps"].tolist(), "extent": tuple(a["extent"].tolist())})
        for a in load(folder, methods)
    ]
