"""Adversarial robustness, measured by somebody else's attacks.

The attacks are those of the Adversarial Robustness Toolbox (extra ``attacks``), which knows nothing
of how a model was trained. Nothing here is an attack of our own.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from sklearn.utils import check_random_state
from torch import Tensor, nn

from unshaken import checks
from unshaken.training.modes import evaluation_mode

ATTACKS = ("apgd-ce", "apgd-dlr", "square")
NORMS = {"l2": 2, "linf": np.inf}


@dataclass(frozen=True)
class Robustness:
    """How often a classifier is right under attack.

    Attributes:
        norm: ``"l2"`` or ``"linf"``.
        radii: sizes of the attacks, in units of x.
        clean: accuracy without an attack, in per cent.
        accuracy: at each radius, the share of examples, in per cent, that are classified rightly
            under every attack.
        by_attack: the same of each attack alone.
        examples: how many were attacked.
    """

    norm: str
    radii: tuple[float, ...]
    clean: float
    accuracy: tuple[float, ...]
    by_attack: dict[str, tuple[float, ...]] = field(default_factory=dict)
    examples: int = 0

    def __str__(self) -> str:
        lines = [f"clean {self.clean:.1f} % of {self.examples} examples ({self.norm})"]
        for k, radius in enumerate(self.radii):
            parts = ", ".join(f"{name} {values[k]:.1f}" for name, values in self.by_attack.items())
            lines.append(f"radius {radius:g}: {self.accuracy[k]:.1f} % ({parts})")
        return "\n".join(lines)


def robustness(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    radii: Sequence[float],
    norm: str = "l2",
    *,
    attacks: Sequence[str] | None = None,
    bounds: tuple[float, float] | None = None,
    steps: int = 50,
    queries: int = 500,
    batch_size: int = 250,
    seed: int = 0,
) -> Robustness:
    """Accuracy under the Adversarial Robustness Toolbox's attacks, the worst for each example.

    Auto-PGD on the cross-entropy and on the difference of logits ratio (Croce & Hein 2020) follow
    the gradient; the square attack (Andriushchenko et al. 2020), for images, sees outputs only, so
    that a model whose gradients mislead is found out. A bound from below on what an attacker can
    do: the accuracy under stronger attacks may be lower.

    Args:
        model: the classifier, ``(N, ...)`` to ``(N, C)``; it is left in the mode it was in.
        x: inputs ``(N, ...)``, on the model's device.
        y: labels ``(N,)``.
        radii: sizes of the perturbation, in units of x as the model gets it, ascending or not.
        norm: ``"l2"`` or ``"linf"``.
        attacks: among ``"apgd-ce"``, ``"apgd-dlr"`` (three classes or more) and ``"square"``
            (images); all that suit unless given.
        bounds: the least and largest value of x, which attacks keep within; those of ``x`` unless
            given.
        steps: of Auto-PGD.
        queries: of the square attack.
        batch_size: examples at a time.
        seed: of the attacks' random numbers: numpy's, Python's and torch's, whose states are put
            back.

    Raises:
        ImportError: the toolbox is not installed.
        ValueError: a name is unknown, an attack does not suit the data, or sizes do not match.

    Example:
        >>> print(unshaken.robustness.robustness(model, x_test, y_test, radii=(0.5, 1.0)))
    """
    checks.inputs(x)
    checks.choice(norm, "norm", tuple(NORMS))
    if y.shape != (len(x),):
        raise ValueError(f"y must hold {len(x)} labels, got shape {tuple(y.shape)}")
    sizes = tuple(checks.radius(radius, "radii") for radius in radii)
    if not sizes:
        raise ValueError("radii must hold at least one number, got none")
    low, high = (float(x.min()), float(x.max())) if bounds is None else bounds
    if not low < high:
        raise ValueError(f"bounds must be a number and a larger one, got {(low, high)}")
    values, labels = x.detach().cpu().numpy().astype(np.float32), y.cpu().numpy()
    # The toolbox draws from the global generators of numpy and of Python.
    numbers = check_random_state(None)
    state, own = numbers.get_state(), random.getstate()
    with evaluation_mode(model, x.device):
        numbers.seed(checks.integer(seed, "seed", low=0))
        random.seed(seed)
        torch.manual_seed(seed)
        try:
            classes = int(model(x[:1]).shape[1])
            chosen = _chosen(attacks, classes, x)
            classifier = _classifier(model, values, classes, (low, high))
            clean = _right(classifier, values, labels, batch_size)
            by_attack: dict[str, list[float]] = {name: [] for name in chosen}
            worst = []
            for radius in sizes:
                kept = clean.copy()
                for name in chosen:
                    right = clean
                    if radius:
                        attack = _attack(name, classifier, norm, radius, steps, queries, batch_size)
                        moved = attack.generate(x=values, y=labels)
                        right = clean & _right(classifier, moved, labels, batch_size)
                    by_attack[name].append(100 * float(right.mean()))
                    kept &= right
                worst.append(100 * float(kept.mean()))
        finally:
            numbers.set_state(state)
            random.setstate(own)
    return Robustness(
        norm,
        sizes,
        100 * float(clean.mean()),
        tuple(worst),
        {name: tuple(found) for name, found in by_attack.items()},
        len(x),
    )


def _chosen(attacks: Sequence[str] | None, classes: int, x: Tensor) -> list[str]:
    unsuited = {
        "apgd-dlr": "" if classes > 2 else f"needs 3 classes or more, got {classes}",
        "square": "" if x.dim() == 4 else f"needs images (N, C, H, W), got {tuple(x.shape)}",
    }
    if attacks is None:
        return [name for name in ATTACKS if not unsuited.get(name)]
    for name in attacks:
        checks.choice(name, "attacks", ATTACKS)
        if unsuited.get(name):
            raise ValueError(f"attacks: {name} {unsuited[name]}")
    if not attacks:
        raise ValueError("attacks must name at least one, got none")
    return list(attacks)


def _classifier(
    model: nn.Module, values: np.ndarray[Any, Any], classes: int, bounds: tuple[float, float]
) -> Any:
    try:
        from art.estimators.classification import PyTorchClassifier
    except ImportError as error:
        raise ImportError(
            "robustness needs the Adversarial Robustness Toolbox: pip install 'unshaken[attacks]'"
        ) from error
    device = next(model.parameters()).device
    return PyTorchClassifier(
        model=model,
        loss=nn.CrossEntropyLoss(),
        input_shape=values.shape[1:],
        nb_classes=classes,
        clip_values=bounds,
        device_type="gpu" if device.type == "cuda" else "cpu",
    )


def _right(
    classifier: Any, values: np.ndarray[Any, Any], labels: np.ndarray[Any, Any], batch_size: int
) -> np.ndarray[Any, np.dtype[np.bool_]]:
    outputs = classifier.predict(values, batch_size=batch_size)
    return np.asarray(outputs.argmax(1) == labels)


def _attack(
    name: str,
    classifier: Any,
    norm: str,
    radius: float,
    steps: int,
    queries: int,
    batch_size: int,
) -> Any:
    from art.attacks.evasion import AutoProjectedGradientDescent, SquareAttack

    if name == "square":
        return SquareAttack(
            classifier,
            norm=NORMS[norm],
            eps=radius,
            max_iter=queries,
            batch_size=batch_size,
            verbose=False,
        )
    loss = "cross_entropy" if name == "apgd-ce" else "difference_logits_ratio"
    return AutoProjectedGradientDescent(
        classifier,
        norm=NORMS[norm],
        eps=radius,
        eps_step=2 * radius,
        max_iter=steps,
        nb_random_init=1,
        batch_size=batch_size,
        loss_type=loss,
        verbose=False,
    )
