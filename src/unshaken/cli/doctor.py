"""``unshaken doctor``: what is installed and found here, and whether it computes what it should."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

_TOLERANCE = 1e-3
"""Relative error in float32 of a closed form beside differences of the loss."""


def doctor(json: bool = False) -> int:
    """Show versions, devices, threads and data found here, and check a closed form on each device.

    Args:
        json: print one JSON object
    """
    from unshaken.cli.output import print_json

    found = examine()
    if json:
        print_json(found)
    else:
        _print(found)
    return 1 if found["problems"] else 0


def examine() -> dict[str, Any]:
    """Everything that the command says, ``problems`` last."""
    import joblib
    import torch

    from unshaken import __version__

    packages, extras, problems = _packages()
    cores = joblib.cpu_count()
    threads = torch.get_num_threads()
    if threads > cores:
        problems.append(
            f"PyTorch would use {threads} threads on {cores} cores; set OMP_NUM_THREADS={cores}"
        )
    devices = []
    for device in ["cpu", *(f"cuda:{k}" for k in range(torch.cuda.device_count()))]:
        error = deviation(torch.device(device))
        devices.append({"device": device, "name": _name(device), "deviation": error})
        if not error < _TOLERANCE:
            problems.append(f"{device} computes wrongly: a rate is off by {error:.2g} of its size")
    return {
        "unshaken": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "packages": packages,
        "extras": extras,
        "devices": devices,
        "cores": cores,
        "threads": threads,
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS"),
        **_data(),
        "problems": problems,
    }


def deviation(device: torch.device) -> float:
    """How far VMT's rate along the worst shift is from a central difference of the loss.

    Relative to the rate, on the device, in float32; about 1e-5 where all is well.
    """
    import torch
    from torch.nn import functional

    from unshaken import VMT, fields, models

    # The caller's random numbers stay what they were.
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(0)
        model = models.mlp([64, 32, 3]).to(device).eval()
        x, y = torch.randn(16, 1, 8, 8, device=device), torch.arange(16, device=device) % 3
    worst = VMT(fields.Shift()).worst(model, x, y)

    def loss(degree: float) -> torch.Tensor:
        with torch.no_grad():
            moved = model(worst.apply(degree)).double()
            return functional.cross_entropy(moved, y, reduction="none")

    degree = 1e-3
    rate = (loss(degree) - loss(-degree)) / (2 * degree)
    return ((worst.value - rate).norm() / rate.norm()).item()


def _packages() -> tuple[dict[str, str | None], dict[str, dict[str, str | None]], list[str]]:
    """Versions of what the core needs and of each extra; None where missing."""
    packages: dict[str, str | None] = {}
    extras: dict[str, dict[str, str | None]] = {}
    problems: list[str] = []
    try:
        requirements = importlib.metadata.requires("unshaken") or []
    except importlib.metadata.PackageNotFoundError:
        requirements = []  # run from a checkout that was not installed
        packages["torch"] = _version("torch")
    for requirement in requirements:
        name = re.match(r"[\w.-]+", requirement)
        extra = re.search(r"extra == ['\"]([\w-]+)['\"]", requirement)
        if name is None:
            continue
        version = _version(name[0])
        if extra is None:
            packages[name[0]] = version
            if version is None:
                problems.append(f"{name[0]} is missing; pip install {name[0]}")
        elif extra[1] not in ("docs", "examples", "quality", "test"):
            extras.setdefault(extra[1], {})[name[0]] = version
    return packages, extras, problems


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _name(device: str) -> str:
    import torch

    from unshaken.comparison.environment import provenance

    if device == "cpu":
        return str(provenance()["processor"])
    found = torch.cuda.get_device_properties(device)
    return f"{found.name}, {found.total_memory / 2**30:.0f} GiB"


def _data() -> dict[str, Any]:
    from unshaken.data import NAMES, default_root
    from unshaken.data.sources import GENERATED, location

    places = {name: location(name) for name in NAMES if name not in GENERATED}
    return {
        "data folder": str(default_root()),
        "data": {name: None if place is None else str(place) for name, place in places.items()},
    }


def _print(found: Mapping[str, Any]) -> None:
    from unshaken.cli.help import entry

    def line(name: str, text: str) -> None:
        print("\n".join(entry(name, text, 14)))

    print(f"unshaken {found['unshaken']}, Python {found['python']}, {found['system']}")
    line("packages", ", ".join(f"{n} {v or 'MISSING'}" for n, v in found["packages"].items()))
    for extra, packages in found["extras"].items():
        missing = [name for name, version in packages.items() if version is None]
        has = ", ".join(f"{n} {v}" for n, v in packages.items() if v is not None)
        ask = f'without {", ".join(missing)}: pip install "unshaken[{extra}]"' if missing else ""
        line(f"[{extra}]", "; ".join(part for part in (has, ask) if part))
    for device in found["devices"]:
        line(
            device["device"],
            f"{device['name']}; a closed form agrees with differences to {device['deviation']:.1g}",
        )
    line("threads", f"{found['threads']} of PyTorch, on {found['cores']} cores")
    data = [f"{n} {'found' if place else 'not there'}" for n, place in found["data"].items()]
    line("data", f"{', '.join(data)}, in {found['data folder']} (UNSHAKEN_DATA names another)")
    for problem in found["problems"]:
        line("PROBLEM", problem)
