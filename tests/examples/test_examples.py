"""Every example runs, learns what it is to learn, and says so."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted(path.stem for path in (ROOT / "examples").glob("*.py"))


def example(name: str) -> Any:
    return importlib.import_module(f"examples.{name}")


@pytest.fixture(autouse=True)
def _random_state():
    with torch.random.fork_rng():
        yield


def test_vat_helps_the_plain_loop():
    main = example("plain_loop").main
    assert main(steps=150) < main(steps=150, radius=0.0) - 2


def test_the_regularizer_helps_regression():
    main = example("regression").main
    assert main(steps=120) < main(steps=120, weight=0.0)


@pytest.mark.parametrize(
    ("name", "error"),
    [("signals", 4), ("volumes", 15), ("segmentation", 8)],
)
def test_the_test_error_is_small(name, error):
    assert example(name).main() < error


def test_text_moves_its_embeddings():
    found = example("text_embeddings").main()
    assert found["test error %"] < 20
    assert found["embeddings moved by"] > 1


def test_fields_of_ones_own():
    found = example("own_physics").main()
    assert found["test error %"] < 5
    assert found["rate of the loss by pitch"] > 0 < found["rate of the loss by tempo"]


@pytest.mark.filterwarnings("ignore")
def test_regularizers_make_more_robust():
    pytest.importorskip("art", reason="the extra attacks is not installed")
    found = example("robustness").main(steps=120, examples=60)
    assert found["baseline"].clean > 90
    for name in ("AT", "VAT"):
        assert found[name].accuracy[0] > found["baseline"].accuracy[0] + 10


def test_lightning(tmp_path):
    pytest.importorskip("lightning.pytorch", reason="the extra lightning is not installed")
    found = example("lightning_trainer").main(epochs=12, folder=str(tmp_path))
    assert found["val_error"] < 12
    assert found["train_vat"] > 0 < found["vmt"]


def test_hugging_face():
    pytest.importorskip("transformers", reason="the extra examples is not installed")
    pytest.importorskip("accelerate", reason="the extra examples is not installed")
    found = example("hugging_face_trainer").main()
    assert found["last loss"] < found["first loss"] - 0.1
    assert found["test error %"] < 30


class Standin(nn.Module):
    """What a network of timm looks like: batch norm, in-place activations, pooling."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace=True)
        )
        self.block = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8))
        self.act = nn.ReLU(inplace=True)
        self.fc = nn.Linear(8, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        x = self.act(self.block(x) + x)
        return self.fc(x.mean((2, 3)))


def test_a_timm_network_by_a_standin():
    found = example("timm_model").main(Standin, steps=30)
    assert found["last loss"] < found["first loss"]
    assert found["first vat"] > 0 < found["first vmt"]


def test_a_timm_network():
    try:
        importlib.import_module("timm")
    except (ImportError, RuntimeError) as error:  # torchvision without its operators
        pytest.skip(f"timm cannot be imported here: {error}")
    found = example("timm_model").main(steps=3)
    assert found["first vat"] > 0 < found["first vmt"]


def test_two_processes_end_with_the_same_weights():
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    words = ["--standalone", "--nproc-per-node", "2", str(ROOT / "examples" / "distributed.py")]
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", *words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    said = r"process (\d) of 2: ([\d.]+) % test error, weights' sum (-?\d+\.\d+)"
    ranks, errors, sums = zip(*re.findall(said, done.stdout), strict=True)
    assert sorted(ranks) == ["0", "1"]
    assert sums[0] == sums[1]
    assert errors[0] == errors[1] and float(errors[0]) < 10


def test_none_is_left_out():
    here = Path(__file__).read_text()
    for name in EXAMPLES:
        assert f'"{name}"' in here or f'"{name}.py"' in here
        text = (ROOT / "examples" / f"{name}.py").read_text()
        assert text.startswith('"""')
        assert '__name__ == "__main__"' in text
