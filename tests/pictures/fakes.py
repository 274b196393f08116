"""Made-up comparisons and examples, as like real ones as a picture needs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from unshaken.pictures import Boundary, Panel

# method: (final error in %, step cost, final R)
METHODS: dict[str, tuple[float, float, float]] = {
    "baseline": (9.13, 1.0, 3.0),
    "dropout": (8.41, 1.04, 2.6),
    "random": (4.15, 1.93, 1.4),
    "at-l2": (6.32, 2.02, 1.1),
    "at-linf": (6.54, 2.01, 1.2),
    "vat": (3.22, 2.96, 0.7),
    "vmt-shift": (5.31, 1.62, 0.2),
    "vmt-rotation": (5.63, 1.61, 0.4),
    "vmt-scale": (11.9, 1.63, 0.35),
    "vmt-all": (5.38, 1.71, 0.25),
    "xat": (5.92, 1.98, 1.6),
    "xvat": (5.08, 2.05, 1.5),
    "xvat-transductive": (5.24, 2.11, 1.5),
    "mat": (4.31, 2.41, 0.5),
    "mvat": (3.87, 3.34, 0.45),
}


def records(seeds: int = 5, points: int = 40, r: bool = True) -> list[dict[str, Any]]:
    found = []
    for seed in range(seeds):
        split = np.random.default_rng(100 + seed).normal() * 0.25
        for k, (method, (error, cost, rate)) in enumerate(METHODS.items()):
            rng = np.random.default_rng(1000 * seed + k)
            final = error + split + rng.normal() * 0.18
            history = []
            for t in range(1, points + 1):
                done = t / points
                now = final + (70 - final) * math.exp(-9 * done) + rng.normal() * 0.3 * (1 - done)
                train = 0.6 * math.exp(-7 * done) + 0.004
                test = 0.02 * now + 0.02 + 0.01 * rng.normal()
                entry: dict[str, Any] = {
                    "step": 500 * t // points,
                    "epoch": 20 * t / points,
                    "loss": train,
                    "test_error": now,
                    "test_loss": test,
                    "train_error": 40 * math.exp(-9 * done),
                    "train_loss": train,
                    "gap": test - train,
                }
                if r:
                    for name, factor in (("shift", 1.0), ("rotation", 0.7), ("scale", 0.8)):
                        level = factor * rate * (1 + 4 * math.exp(-6 * done))
                        entry[f"r_{name}"] = level * math.exp(0.05 * rng.normal())
                history.append(entry)
            found.append(
                {
                    "method": method,
                    "seed": seed,
                    "error": final,
                    "train_error": 0.0,
                    "seconds_per_step": 0.00091 * cost,
                    "steps": 500,
                    "settings": {"weight": 1.0, "radius": 0.6, "lr": 0.002},
                    "history": history,
                }
            )
    return found


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    rows = []
    base = np.array([run["error"] for run in runs if run["method"] == "baseline"])
    for method, (_, cost, _) in METHODS.items():
        errors = np.array([run["error"] for run in runs if run["method"] == method])
        n, difference = len(errors), errors - base
        several = n > 1 and method != "baseline"
        sem = float(difference.std(ddof=1) / math.sqrt(n)) if several else None
        t = abs(float(difference.mean())) / sem if sem else 0.0
        rows.append(
            {
                "method": method,
                "errors": errors.tolist(),
                "error_mean": float(errors.mean()),
                "error_sem": float(errors.std(ddof=1) / math.sqrt(n)) if n > 1 else None,
                "difference_mean": float(difference.mean()) if several else None,
                "difference_sem": sem,
                "p_value": math.erfc(t / 3) if several else None,
                "seconds_per_step": 0.00091 * cost,
                "cost_ratio": cost,
            }
        )
    return {
        "rows": rows,
        "baseline": "baseline",
        "environment": {
            "hardware": "AMD EPYC 7B13, 2 cores, one thread",
            "python": "3.11.9",
            "torch": "2.13.0+cpu",
            "commit": "0123456789abcdef0123456789abcdef01234567",
        },
        "data": {
            "name": "digits",
            "labels": 100,
            "train": 1297,
            "test": 500,
            "info": {
                "source": "scikit-learn's copy of the UCI optical digits",
                "license": "CC BY 4.0",
                "preprocessing": "pixels / 16 − 0.5",
                "augmentation": "none",
            },
        },
        "protocol": {
            "steps": 500,
            "batch_size": 100,
            "unlabeled_batch_size": 250,
            "optimizer": "adam",
            "schedule": "linear:0.5",
            "tuned_on": "validation data, the same number of trials for every method",
        },
    }


def digits(n: int = 4, size: int = 8, channels: int = 1) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Rings and bars in [-0.5, 0.5], (n, channels, size, size)."""
    y, x = np.mgrid[:size, :size] / (size - 1) * 2 - 1
    shapes = [
        np.exp(-(((np.hypot(x, y) - 0.6) / 0.25) ** 2)),
        np.exp(-((x / 0.25) ** 2)) * (abs(y) < 0.95),
        np.exp(-(((abs(y) - 0.6) / 0.25) ** 2)) * (abs(x) < 0.8),
        np.exp(-(((x + y) / 0.3) ** 2)),
    ]
    tint = np.linspace(1.0, 0.4, channels)[:, None, None]
    return np.stack([tint * shapes[i % 4] - 0.5 for i in range(n)])


def field(name: str, size: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """A unit field (2, size, size): component 0 along the rows."""
    p = np.mgrid[:size, :size] - (size - 1) / 2.0
    values = {
        "shift": np.stack([np.full((size, size), 0.6), np.full((size, size), 0.8)]),
        "rotation": np.stack([-p[1], p[0]]),
        "scale": p * np.array([0.5, 0.87])[:, None, None],
    }[name]
    return values / math.sqrt((values**2).sum(0).mean())


def warp(images: Any, displacement: Any) -> Any:
    """I'(p) = I(p + V(p)), nearest neighbor."""
    size = images.shape[-1]
    p = np.mgrid[:size, :size]
    q = np.clip(np.rint(p + displacement), 0, size - 1).astype(int)
    return images[..., q[0], q[1]]


def panels(size: int = 8, channels: int = 1, n: int = 4) -> list[Panel]:
    clean = digits(n, size, channels)
    rng = np.random.default_rng(0)
    value = rng.uniform(0.1, 2.0, n)
    found = []
    for method, scale in (("vat", 0.2), ("at-linf", 0.1)):
        noise = rng.normal(size=clean.shape) * scale
        noise = np.sign(noise) * scale if method == "at-linf" else noise
        note = f"radius {scale:g}"
        found.append(Panel(method, "additive", clean, clean + noise, None, None, value, note))
    for method, name in (("vmt-shift", "shift"), ("vmt-rotation", "rotation"), ("mvat", "scale")):
        v = field(name, size)
        moved = np.stack([warp(image, v) for image in clean])
        note = "radius 1 px" if method == "mvat" else "degree 1 px"
        many = np.stack([v] * n)
        found.append(Panel(method, "movement", clean, moved, many, None, value, note))
    for method in ("xvat", "xat"):
        mask = np.clip(rng.uniform(-0.4, 1.6, (n, 1, size, size)), 0, 1)
        found.append(Panel(method, "mask", clean, clean * mask, None, mask, value, "keeps 62 %"))
    return found


def signal_panels(n: int = 2) -> list[Panel]:
    t = np.linspace(-2 * math.pi, 2 * math.pi, 100)
    rng = np.random.default_rng(1)
    clean = np.stack([np.sin(t + i)[None] + 0.1 * rng.normal(size=(1, 100)) for i in range(n)])
    noise = 0.1 * np.sign(rng.normal(size=clean.shape))
    shift = np.full((n, 1, 100), -3.0)
    positions = np.clip(np.arange(100) - 3, 0, 99)
    mask = (rng.uniform(size=(n, 1, 100)) > 0.2).astype(float)
    value = np.array([0.4, 1.2])[:n]
    return [
        Panel("at-linf", "additive", clean, clean + noise, None, None, value, "radius 0.1"),
        Panel("mat", "movement", clean, clean[..., positions], shift, None, value, "radius 3"),
        Panel("xvat", "mask", clean, clean * mask, None, mask, value, "keeps 80 %"),
    ]


def moons(methods: tuple[str, ...] = ("baseline", "vat", "xvat")) -> list[Boundary]:
    rng = np.random.default_rng(2)
    angle = rng.uniform(0, math.pi, 500)
    upper = np.arange(500) % 2 == 0
    x = np.where(upper, np.cos(angle), 1 - np.cos(angle))
    y = np.where(upper, np.sin(angle), 0.5 - np.sin(angle))
    points = np.stack([x, y], 1) + 0.05 * rng.normal(size=(500, 2))
    classes = (~upper).astype(int)
    g = 80
    xs, ys = np.meshgrid(np.linspace(-1.5, 2.5, g), np.linspace(-1.1, 1.6, g))
    found = []
    for k, method in enumerate(methods):
        grids = []
        for done in (0.1, 0.4, 0.7, 1.0):
            curve = 0.25 + done * (0.3 + 0.15 * k) * np.sin(math.pi * (xs - 0.5) * 0.9) - 0.1 * xs
            grids.append(1 / (1 + np.exp((ys - curve) * 12 * done)))
        found.append(
            Boundary(
                method,
                (100, 400, 700, 1000),
                np.stack(grids),
                (-1.5, 2.5, -1.1, 1.6),
                points,
                points[:16],
                classes[:16],
            )
        )
    return found
