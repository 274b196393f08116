"""A test set for data that come without one."""

from __future__ import annotations

import numpy as np

from .errors import DataError
from .raw import Array
from .seeds import hash_order

__all__ = ["NOTE", "holdout"]

NOTE = "no test set of its own: a fixed fifth of each class, chosen by name, tests"


def holdout(title: str, names: list[str], labels: Array) -> tuple[Array, Array]:
    """Positions that train and positions that test: a fifth of each class, at least one.

    The choice depends on the names (file names or row numbers) alone, on no seed.

    Raises:
        DataError: a class has fewer than two examples.
    """
    order = np.array(hash_order(names, "holdout"))
    test = []
    for k in np.unique(labels):
        members = order[labels[order] == k]
        if len(members) < 2:
            raise DataError(
                f"{title}: expected at least 2 examples of class {k:g}, one of them to test with, "
                f"got {len(members)}"
            )
        test.append(members[: max(1, len(members) // 5)])
    chosen = np.sort(np.concatenate(test))
    return np.setdiff1d(np.arange(len(labels)), chosen), chosen
