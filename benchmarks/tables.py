"""Few labels on small tables: this package's estimator beside scikit-learn's.

    OMP_NUM_THREADS=1 python benchmarks/tables.py choose    # candidates for the defaults
    OMP_NUM_THREADS=1 python benchmarks/tables.py report    # the default beside the others

Half of each data set is for testing. Of the other half a few labels of each class are shown; the
rest of it is unlabeled, and only the methods that can use unlabeled rows see them. Columns are
standardized for all. ``choose`` and ``report`` draw different splits; every line that is stored in
``results/tables.jsonl`` is one fit, and what is stored is not done again.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.datasets import (
    load_breast_cancer,
    load_digits,
    load_iris,
    load_wine,
    make_circles,
    make_classification,
    make_moons,
)
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.semi_supervised import LabelPropagation, LabelSpreading, SelfTrainingClassifier

from unshaken.comparison.environment import environment
from unshaken.sklearn import RegularizedClassifier

STORED = Path(__file__).parent / "results" / "tables.jsonl"
LABELS = 5
"""Of each class."""
SPLITS = {"choose": range(1000, 1003), "report": range(10)}

DATA: dict[str, Callable[[int], tuple[Any, Any]]] = {
    "iris": lambda seed: load_iris(return_X_y=True),
    "wine": lambda seed: load_wine(return_X_y=True),
    "breast cancer": lambda seed: load_breast_cancer(return_X_y=True),
    "digits": lambda seed: load_digits(return_X_y=True),
    "moons": lambda seed: make_moons(600, noise=0.15, random_state=seed),
    "circles": lambda seed: make_circles(600, noise=0.08, factor=0.5, random_state=seed),
    "classification": lambda seed: make_classification(
        600, 20, n_informative=6, n_classes=3, random_state=seed
    ),
}

Made = tuple[BaseEstimator, bool]
"""An estimator, and whether it takes unlabeled rows."""

CANDIDATES: dict[str, Callable[[int], Made]] = {
    f"{name}, radius {share:g} of a row": (
        lambda seed, name=name, share=share: (_ours(seed, name, share), True)
    )
    for name in ("vat", "vat+entropy")
    for share in (0.1, 0.25, 0.5)
}
CANDIDATES["none"] = lambda seed: (RegularizedClassifier(None, random_state=seed), True)

OTHERS: dict[str, Callable[[int], Made]] = {
    "RegularizedClassifier()": lambda seed: (RegularizedClassifier(random_state=seed), True),
    "RegularizedClassifier(None)": lambda seed: (
        RegularizedClassifier(None, random_state=seed),
        True,
    ),
    "MLPClassifier": lambda seed: (
        MLPClassifier((128, 64), max_iter=500, random_state=seed),
        False,
    ),
    "LogisticRegression": lambda seed: (LogisticRegression(max_iter=2000), False),
    "LabelPropagation": lambda seed: (LabelPropagation(max_iter=2000), True),
    "LabelSpreading, nearest neighbors": lambda seed: (
        LabelSpreading("knn", max_iter=200),
        True,
    ),
    "LabelSpreading": lambda seed: (LabelSpreading(max_iter=200), True),
    "SelfTrainingClassifier": lambda seed: (
        SelfTrainingClassifier(LogisticRegression(max_iter=2000)),
        True,
    ),
}
METHODS = {"choose": CANDIDATES, "report": OTHERS}


class _OfRowLength(RegularizedClassifier):
    """The radius as a share of a typical row's length, which is known when the rows are."""

    def __init__(self, regularizer: Any = "vat", share: float = 0.25, random_state: Any = None):
        super().__init__(regularizer, random_state=random_state)
        self.share = share

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> RegularizedClassifier:
        self.radius = self.share * float(np.sqrt(X.shape[1]))
        return super().fit(X, y, sample_weight)


def _ours(seed: int, name: str, share: float) -> RegularizedClassifier:
    return _OfRowLength(name, share, seed)


def split(name: str, seed: int) -> tuple[Any, Any, Any, Any]:
    """Training rows with labels hidden by -1, and test rows."""
    X, y = DATA[name](seed)
    x, xt, labels, yt = train_test_split(X, y, test_size=0.5, stratify=y, random_state=seed)
    hidden = np.full(len(labels), -1)
    for value in np.unique(labels):
        rows = np.flatnonzero(labels == value)[:LABELS]
        hidden[rows] = value
    return x, hidden, xt, yt


def fit(part: str, name: str, method: str, seed: int) -> dict[str, Any]:
    """One fit, as it is stored."""
    x, y, xt, yt = split(name, seed)
    estimator, semi = METHODS[part][method](seed)
    if not semi:
        x, y = x[y != -1], y[y != -1]
    model = make_pipeline(StandardScaler(), estimator)
    begin = time.process_time()
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # small sets do not always converge
        model.fit(x, y)
    return {
        "part": part,
        "data": name,
        "method": method,
        "seed": seed,
        "error": 100 * (1 - model.score(xt, yt)),
        "seconds": time.process_time() - begin,
    }


def stored() -> list[dict[str, Any]]:
    """Every fit so far."""
    if not STORED.exists():
        return []
    return [json.loads(line) for line in STORED.read_text("utf-8").splitlines()]


def jobs(part: str) -> Iterator[tuple[str, str, str, int]]:
    """What is not stored yet."""
    done = {(r["part"], r["data"], r["method"], r["seed"]) for r in stored() if "data" in r}
    for seed in SPLITS[part]:
        for name in DATA:
            for method in METHODS[part]:
                if (part, name, method, seed) not in done:
                    yield part, name, method, seed


def main() -> None:
    """Do what is missing and print the means."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("part", choices=list(SPLITS))
    part = parser.parse_args().part
    if not STORED.exists():
        STORED.write_text(json.dumps({"environment": environment(1, 1)}) + "\n", "utf-8")
    for job in jobs(part):
        line = json.dumps(fit(*job))
        with STORED.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
    found = [r for r in stored() if r.get("part") == part]
    for method in METHODS[part]:
        means = [
            np.mean([r["error"] for r in found if (r["data"], r["method"]) == (name, method)])
            for name in DATA
        ]
        print(f"{method:40s}", *(f"{m:6.2f}" for m in means), f"{np.mean(means):6.2f}")


if __name__ == "__main__":
    main()
