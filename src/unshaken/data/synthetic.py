"""Data sets drawn from a seed: sinusoids, moons, circles."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor

from .raw import Array, Raw
from .seeds import numpy_generator

__all__ = ["circles", "embedding", "moons", "sinusoids"]

SHARED = 1000
"""As many seeds share the points of a set in the plane."""


def sinusoids(seed: int) -> Raw:
    """Two classes of noisy sinusoids that differ by 2 % in frequency, ``(1, 100)`` each.

    x(t) = sin(w t + phi) + eta, phi ~ U(0, pi/2), eta ~ N(0, 0.1^2) for each point, t the 100
    points of an even grid over [-2 pi, 2 pi]; 5000 examples with w = 0.99 (class 0) and 5000 with
    w = 1.01 (class 1). 500 of each class train, the other 9000 examples test.

    Source: the synthetic data of "Regularization Neural Networks via Constrained Virtual Movement
    Field".
    """
    random = numpy_generator("sinusoids", seed)
    t = np.linspace(-2 * np.pi, 2 * np.pi, 100)
    labels = np.repeat([0, 1], 5000)
    frequency = np.where(labels == 0, 0.99, 1.01)[:, None]
    phase = random.uniform(0, np.pi / 2, (10_000, 1))
    x = np.sin(frequency * t + phase) + random.normal(0, 0.1, (10_000, 100))
    x = x[:, None].astype(np.float32)
    train = _shuffled(random, np.concatenate([np.arange(500), np.arange(5000, 5500)]))
    test = _shuffled(random, np.concatenate([np.arange(500, 5000), np.arange(5500, 10_000)]))
    return Raw(
        x[train],
        labels[train],
        x[test],
        labels[test],
        scale=None,
        classes=2,
        info=_info("two classes of noisy sinusoids of 100 points; 1000 train, 9000 test"),
    )


def moons(seed: int) -> Raw:
    """Two interlocked arcs in a plane that 100 dimensions contain.

    Class 0 lies on the circle of radius 1 about (-1/2, 1/4) from 90 to 360 degrees, class 1 on
    the one about (1/2, -1/4) from -90 to 180 degrees, uniformly, with Gaussian noise of standard
    deviation 0.1 in each coordinate: the measures of the published set of Miyato et al. (2016).
    16 labeled examples, 1000 to test with, of which 500 are also ``x_unlabeled``.

    As the published set is one set of points, seeds 0 to 999 share their points and labels, 1000
    to 1999 share others, and so on; the seed chooses the 500 unlabeled ones.
    """
    random = numpy_generator("moons", seed // SHARED)

    def draw(labels: Array) -> Array:
        start = np.where(labels == 0, np.pi / 2, -np.pi / 2)
        angle = start + random.uniform(0, 1.5 * np.pi, len(labels))
        center: Array = np.where(labels == 0, -1, 1)[:, None] * np.array([0.5, -0.25])
        circle: Array = np.stack([np.cos(angle), np.sin(angle)], 1)
        noise: Array = random.normal(0, 0.1, (len(labels), 2))
        return center + circle + noise

    labeled, test = np.repeat([0, 1], 8), _shuffled(random, np.repeat([0, 1], 500))
    return _planar(draw(labeled), labeled, draw(test), test, "two interlocked arcs", seed)


def circles(seed: int) -> Raw:
    """Two concentric circles in a plane that 100 dimensions contain.

    Class 0 has the radius 1/4, class 1 the radius 1, with Gaussian noise of standard deviation
    0.05 in each coordinate: the measures of the published set of Miyato et al. (2016). 16 labeled
    examples, 1000 to test with, of which 500 are also ``x_unlabeled``. Seeds share points as those
    of :func:`moons` do.
    """
    random = numpy_generator("circles", seed // SHARED)

    def draw(labels: Array) -> Array:
        angle = random.uniform(0, 2 * np.pi, len(labels))
        radius = np.where(labels == 0, 0.25, 1.0)[:, None]
        circle: Array = radius * np.stack([np.cos(angle), np.sin(angle)], 1)
        noise: Array = random.normal(0, 0.05, (len(labels), 2))
        return circle + noise

    labeled, test = np.repeat([0, 1], 8), _shuffled(random, np.repeat([0, 1], 500))
    return _planar(draw(labeled), labeled, draw(test), test, "two concentric circles", seed)


@cache
def embedding() -> Tensor:
    """The one fixed matrix ``(2, 100)`` with orthonormal rows that carries points to inputs."""
    rows, _ = np.linalg.qr(numpy_generator("plane").normal(size=(100, 2)))
    # The sign of a column of Q is the library's choice; fix it.
    return torch.from_numpy((rows * np.sign(rows[0])).T.astype(np.float32))


def _planar(
    points: Array, labels: Array, test: Array, test_labels: Array, words: str, seed: int
) -> Raw:
    plane = embedding()
    chosen = np.sort(numpy_generator("unlabeled", words, seed).permutation(len(test))[:500])
    x, x_test = ((p @ plane.numpy()).astype(np.float32) for p in (points, test))
    return Raw(
        x,
        labels,
        x_test,
        test_labels,
        x_unlabeled=x_test[chosen],
        scale=None,
        classes=2,
        info=_info(f"{words}; 16 labeled, 1000 test, 500 of which are also the unlabeled ones"),
        plane=plane,
    )


def _shuffled(random: np.random.Generator, values: Array) -> Array:
    return values[random.permutation(len(values))]


def _info(note: str) -> dict[str, str]:
    return {
        "source": "drawn from the seed",
        "license": "none needed",
        "augmentation": "none",
        "note": note,
    }
