"""Which training examples show their label, which validate, which come without a label."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from .dataset import Dataset
from .errors import DataError, reading
from .seeds import torch_generator
from .statistics import write_whole

__all__ = ["Split", "split"]

FORMAT = "unshaken split 1"


@dataclass(frozen=True, eq=False)
class Split:
    """Three sets of example indices, each sorted, int64.

    Attributes:
        labeled: ``(L,)``, into ``x_train``: the examples whose label may be used.
        unlabeled: ``(U,)``, into ``Dataset.x_all`` (``x_train`` followed by ``x_unlabeled``): the
            inputs that label-free terms may use. It never contains a validation example.
        validation: ``(V,)``, into ``x_train``: held out to choose settings; may be empty.

    Raises:
        DataError: a set is not as said, or the labeled or unlabeled one meets the validation set.
    """

    labeled: Tensor
    unlabeled: Tensor
    validation: Tensor

    def __post_init__(self) -> None:
        for name in ("labeled", "unlabeled", "validation"):
            indices: Tensor = getattr(self, name)
            if indices.dtype != torch.int64 or indices.ndim != 1:
                raise DataError(
                    f"Split.{name}: expected int64 of shape (N,), got {indices.dtype} "
                    f"{tuple(indices.shape)}"
                )
            if len(indices) and (int(indices[0]) < 0 or not (indices.diff() > 0).all()):
                raise DataError(f"Split.{name}: expected sorted distinct indices >= 0")
        for name in ("labeled", "unlabeled"):
            shared = torch.isin(getattr(self, name), self.validation)
            if shared.any():
                raise DataError(
                    f"Split.{name}: expected no validation example, got {int(shared.sum())}"
                )

    def save(self, path: Path | str) -> None:
        """Write the indices as JSON."""
        content = {
            "format": FORMAT,
            "labeled": self.labeled.tolist(),
            "unlabeled": self.unlabeled.tolist(),
            "validation": self.validation.tolist(),
        }
        write_whole(path, json.dumps(content).encode())

    @classmethod
    def read(cls, path: Path | str) -> Split:
        """Read what :meth:`save` wrote.

        Raises:
            DataError: the file is missing, damaged or holds something else.
        """
        with reading(path, "a split in JSON"):
            content = json.loads(Path(path).read_bytes())
            if not isinstance(content, dict) or content.get("format") != FORMAT:
                raise DataError(f"{path}: expected a file of format {FORMAT!r}, got something else")
            sets = {name: content[name] for name in ("labeled", "unlabeled", "validation")}
            for name, indices in sets.items():
                whole = isinstance(indices, list) and all(type(i) is int for i in indices)
                if not whole:
                    raise DataError(f"{path}: {name}: expected a list of whole numbers")
            return cls(**{k: torch.tensor(v, dtype=torch.int64) for k, v in sets.items()})


def split(
    dataset: Dataset,
    *,
    labels: int | None = None,
    validation: int = 0,
    fold: int = 0,
    seed: int,
    include_labeled: bool = True,
) -> Split:
    """Choose labeled and validation examples at random, the same number of each class.

    A pure function of its arguments: PyTorch's global random state is neither read nor moved.
    Every class is put into an order of its own by the seed; labeled examples are taken from the
    front, validation examples from the back. So for one seed fewer labels are a subset of more,
    and asking for a validation set does not change which examples are labeled. Where a number is
    not divisible by the classes, one more goes to some of them, chosen by the seed.

    Args:
        dataset: the data; only ``y_train`` and the number of ``x_unlabeled`` matter.
        labels: how many labels are shown; None for all that are not in the validation set.
        validation: how many training examples are held out, class-balanced likewise.
        fold: which of the disjoint validation sets of this size: 0 is the last one of each class's
            order, 1 the one before it, ...
        seed: chooses the examples.
        include_labeled: whether ``unlabeled`` contains the labeled examples too, as in the
            papers, whose label-free terms draw from all inputs.

    Raises:
        ValueError: an argument is negative, too small for one example of each class, or asks for
            more examples than there are, of all classes together or of one.
    """
    _check(dataset, labels, validation)
    if fold < 0:
        raise ValueError(f"fold: expected 0 or more, got {fold}")
    generator = torch_generator("split", seed)
    orders = []
    for k in range(dataset.classes):
        members = (dataset.y_train == k).nonzero().flatten()
        orders.append(members[torch.randperm(len(members), generator=generator)])
    extra = torch.randperm(dataset.classes, generator=generator).tolist()

    held = _shares("validation", validation, orders, extra, fold + 1)
    ends = [len(order) - fold * n for order, n in zip(orders, held, strict=True)]
    parts = list(zip(orders, held, ends, strict=True))
    kept = [torch.cat([order[: end - n], order[end:]]) for order, n, end in parts]
    if labels is None or labels == sum(map(len, kept)):
        shown = [len(order) for order in kept]
    else:
        shown = _shares("labels", labels, kept, extra)
    if min(shown) == 0:
        k = shown.index(0)
        raise ValueError(
            f"validation: expected a labeled example left in each class, got none in class {k}"
        )

    labeled = torch.cat([order[:n] for order, n in zip(kept, shown, strict=True)])
    out = torch.cat([order[end - n : end] for order, n, end in parts])
    more = 0 if dataset.x_unlabeled is None else len(dataset.x_unlabeled)
    free = torch.ones(len(dataset.y_train) + more, dtype=torch.bool)
    free[out] = False
    if not include_labeled:
        free[labeled] = False
    return Split(labeled.sort().values, free.nonzero().flatten(), out.sort().values)


def _check(dataset: Dataset, labels: int | None, validation: int) -> None:
    available = len(dataset.y_train)
    if not 0 <= validation < available:
        raise ValueError(
            f"validation: expected 0 .. {available - 1} of {available} training examples, "
            f"got {validation}"
        )
    if labels is None:
        return
    left = available - validation
    if not dataset.classes <= labels <= left:
        besides = f" besides {validation} for validation" if validation else ""
        raise ValueError(
            f"labels: expected {dataset.classes} (one of each class) .. {left} of {available} "
            f"training examples{besides}, got {labels}"
        )


def _shares(
    argument: str, total: int, orders: list[Tensor], extra: list[int], times: int = 1
) -> list[int]:
    """The examples each class gives: equal numbers, the rest to the first classes of ``extra``.

    Args:
        argument: what messages speak of.
        total: how many examples.
        orders: the examples of each class.
        extra: the order in which classes give one more.
        times: how often each class has to give that many.
    """
    each, rest = divmod(total, len(orders))
    shares = [each] * len(orders)
    for k in extra[:rest]:
        shares[k] += 1
    for k, (share, order) in enumerate(zip(shares, orders, strict=True)):
        if share * times > len(order):
            folds = f" in each of {times} folds" if times > 1 else ""
            raise ValueError(
                f"{argument}: expected at most {len(order)} of class {k}, which has no more to "
                f"give, got {total} in all or {share} of that class{folds}"
            )
    return shares
