"""``unshaken audit``: what it takes, what it writes, and what it refuses."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import pytest
import torch

from tests.commands import mistake, unshaken

FEW = ["--examples", "20", "--steps", "2", "--directions", "1", "--quiet", "--device", "cpu"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "run"
    said = unshaken(
        "train", "--data", "digits", "--method", "baseline", "--steps", "20", "--out", out,
        "--quiet", "--device", "cpu",
    )  # fmt: skip
    assert said.code == 0, said
    return out


def test_a_run_its_checkpoint_and_its_weights(run, tmp_path):
    (checkpoint,) = (run / "checkpoints").glob("*.pt")
    found = []
    for k, name in enumerate((run, checkpoint, run / "model.safetensors")):
        said = unshaken("audit", name, "--data", "digits", "--out", tmp_path / str(k), *FEW)
        assert said.code == 0, said
        assert "median threshold" in said.out
        assert "<svg" in (tmp_path / str(k) / "report.html").read_text()
        found.append(json.loads((tmp_path / str(k) / "audit.json").read_text()))
    assert found[0]["movements"] == found[1]["movements"] == found[2]["movements"]
    assert found[0]["examples"] == 20
    assert set(found[0]["movements"]) == {"shift", "rotation", "scale", "affine", "elastic"}


def test_a_run_whose_method_has_layers_of_its_own(tmp_path):
    words = ["--data", "digits", "--method", "concrete-dropout+dropout", "--steps", "5"]
    out = tmp_path / "run"
    said = unshaken("train", *words, "--out", out, "--quiet", "--device", "cpu")
    assert said.code == 0, said
    said = unshaken("audit", out, "--quick", "--json", *FEW)
    assert said.code == 0, said
    assert set(json.loads(said.out)["movements"]) == {"shift", "rotation"}


def test_a_state_dict_with_an_import_path(run, tmp_path):
    from unshaken.training import load_model_weights

    torch.save(load_model_weights(run), tmp_path / "weights.pt")
    words = ["--data", "digits", "--families", "shift", *FEW]
    said = unshaken("audit", tmp_path / "weights.pt", "--model", f"{__name__}:same", *words)
    assert said.code == 0, said
    said = unshaken("audit", run, "--compare", run, *words, "--out", tmp_path / "both")
    content = json.loads((tmp_path / "both/audit.json").read_text())
    assert content["comparison"]["shift"]["difference"] == 0


def same(channels, size, classes):
    from unshaken.comparison.protocol import named
    from unshaken.models import build

    options = dict(named("digits").network)
    name = options.pop("name")
    return build(name, channels=channels, size=size, classes=classes, **options)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "audit needs a classifier"),
        (["nowhere"], "there is no file or folder nowhere"),
        (["RUN", "--families", "twist"], "families must be among"),
        (["RUN", "--model", "conv_small"], "do not fit the network"),
    ],
    ids=str,
)
def test_mistakes(run, words, sentence):
    words = [str(run) if word == "RUN" else word for word in words]
    assert sentence in mistake("audit", *words, *FEW)


def test_a_damaged_checkpoint_is_told(run, tmp_path):
    (checkpoint,) = (run / "checkpoints").glob("*.pt")
    content = bytearray(checkpoint.read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "bad.pt").write_bytes(content)
    said = unshaken("audit", tmp_path / "bad.pt", "--model", f"{__name__}:same", *FEW)
    assert said.code != 0
    assert "damaged" in said.err or "checksum" in said.err


def test_timm_is_an_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    assert "needs the package timm" in mistake("audit", "timm:resnet18", *FEW)


def test_a_model_of_timm(monkeypatch):
    made = {}

    def create_model(name, **options):
        made.update(options, name=name)
        return same(options["in_chans"], (8, 8), options["num_classes"])

    monkeypatch.setitem(sys.modules, "timm", SimpleNamespace(create_model=create_model))
    assert unshaken("audit", "timm:some:random", "--families", "shift", *FEW).code == 0
    assert made == {"name": "some", "pretrained": False, "num_classes": 10, "in_chans": 1}
