"""The program called within the test's own process, and data files for it."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unshaken.cli import main


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str


def unshaken(*words: object) -> Said:
    """What ``unshaken WORDS`` returns and prints."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(word) for word in words])
    return Said(code, out.getvalue(), err.getvalue())


def mistake(*words: object) -> str:
    """The one sentence that a mistake gets, with exit code 2 and nothing else said."""
    said = unshaken(*words)
    assert said.code == 2, said
    assert said.out == "", said
    assert said.err.startswith("unshaken: error: "), said
    assert said.err.count("\n") == 1, said
    return said.err.removeprefix("unshaken: error: ").strip()


def write_npz(path: Path, **changes: Any) -> Path:
    """Two classes that a line separates, with arrays replaced or, where None, left out."""
    generator = np.random.default_rng(0)
    x, test = (generator.normal(size=(n, 5)).astype(np.float32) for n in (40, 20))
    arrays = {
        "x_train": x,
        "y_train": (x[:, 0] > 0).astype(np.int64),
        "x_test": test,
        "y_test": (test[:, 0] > 0).astype(np.int64),
        **changes,
    }
    np.savez(path, allow_pickle=True, **{k: v for k, v in arrays.items() if v is not None})
    return path


def summary(folder: Path) -> dict[str, Any]:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    found: dict[str, Any] = json.loads((folder / "summary.json").read_text(), parse_constant=refuse)
    return found
