"""scikit-learn's handwritten digits: 1797 images of 8 x 8 pixels, no download."""

from __future__ import annotations

import numpy as np

from .raw import Raw
from .seeds import hash_order

__all__ = ["digits"]

TEST_PER_CLASS = 50


def digits(seed: int) -> Raw:
    """1297 images to train with and 500 to test with, each ``(1, 8, 8)``, values 0 .. 16.

    The test set is fixed: 50 images of each class, chosen by the hash of their position, whatever
    the seed. So no choice of labeled or validation examples can ever reach into it.
    """
    del seed  # every seed gives the same images
    # Imported here: scikit-learn takes a second that only this set needs.
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = bunch.images[:, None].astype(np.float32)
    labels = bunch.target.astype(np.int64)
    order = np.array(hash_order([str(i) for i in range(len(labels))], "digits test set"))
    test = np.sort(np.concatenate([order[labels[order] == k][:TEST_PER_CLASS] for k in range(10)]))
    train = np.setdiff1d(np.arange(len(labels)), test)
    return Raw(
        images[train],
        labels[train],
        images[test],
        labels[test],
        scale=16.0,
        classes=10,
        info={
            "source": "scikit-learn load_digits (Optical Recognition of Handwritten Digits, UCI)",
            "license": "CC BY 4.0",
            "augmentation": "none",
            "note": "fixed class-balanced test set of 500, the same for every seed",
        },
    )
