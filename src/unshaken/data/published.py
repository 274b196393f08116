"""The published moons and circles of Miyato et al. (2016), from an ``.npz`` file."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from .errors import DataError
from .raw import Array, Raw
from .seeds import numpy_generator

__all__ = ["published_moons"]


def published_moons(arrays: Mapping[str, Array], source: str, seed: int) -> Raw:
    """16 labeled points and 1000 to test with, half of which, chosen by the seed, are unlabeled.

    Args:
        arrays: ``x_labeled`` (N, D), ``y_labeled``, ``x_test``, ``y_test`` and ``embedding``
            ``(2, D)``, which carried the two coordinates to D dimensions.
        source: the file, as messages name it.
        seed: chooses the unlabeled points.

    Raises:
        DataError: an array is missing or does not fit.
    """
    missing = [key for key in ("x_test", "y_test", "embedding") if key not in arrays]
    if missing:
        raise DataError(
            f"{source}: expected x_test, y_test and embedding beside x_labeled, got no "
            f"{', '.join(missing)}"
        )
    test, plane = arrays["x_test"], arrays["embedding"]
    if test.ndim != 2 or plane.dtype.kind != "f" or plane.shape != (2, test.shape[-1]):
        raise DataError(
            f"{source}: expected x_test (M, D) and embedding (2, D) of floating point, got "
            f"{test.shape} and {plane.dtype} {plane.shape}"
        )
    chosen = numpy_generator("published moons", seed).permutation(len(test))[: len(test) // 2]
    return Raw(
        arrays["x_labeled"],
        arrays["y_labeled"],
        test,
        arrays["y_test"],
        x_unlabeled=test[np.sort(chosen)],
        scale=None,
        classes=2,
        info={
            "source": "the published set of Miyato et al. (2016)",
            "license": "not stated",
            "augmentation": "none",
            "note": "half of the test points, chosen by the seed, are also the unlabeled ones",
        },
        plane=torch.from_numpy(plane.astype(np.float32)),
    )
