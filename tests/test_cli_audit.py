"""``unshaken audit``: what it takes, what it writes, and what it refuses."""

from __future__ import annotations

import json
import shutil
import sys
from types import SimpleNamespace

import pytest
import torch

from tests.commands import mistake, unshaken
from unshaken import data as unshaken_data

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
    # As DistributedDataParallel, torch.compile and Lightning leave them.
    weights = load_model_weights(run)
    wrapped = {f"net.{name}": value for name, value in weights.items()}
    for key in ("state_dict", "model_state_dict", "model"):
        torch.save({key: {**wrapped, "own": torch.ones(2)}, "epoch": 3}, tmp_path / "wrapped.pt")
        other = unshaken("audit", tmp_path / "wrapped.pt", "--model", f"{__name__}:same", *words)
        assert other.out.splitlines()[1:] == said.out.splitlines()[1:], other
    said = unshaken("audit", run, "--compare", run, *words, "--out", tmp_path / "both")
    content = json.loads((tmp_path / "both/audit.json").read_text())
    assert content["comparison"]["shift"]["difference"] == 0
    shutil.copytree(run, tmp_path / run.name)
    unshaken("audit", run, "--compare", tmp_path / run.name, *words, "--out", tmp_path / "names")
    page = (tmp_path / "names/report.html").read_text()
    assert f"What shakes {run} and {tmp_path / run.name}" in page


@pytest.mark.parametrize("how", ["standard", "unit", "none"])
def test_a_runs_inputs_are_scaled_as_they_were_in_training(tmp_path, how):
    pixels = torch.randint(256, (60, 5, 6), dtype=torch.uint8, generator=torch.manual_seed(0))
    y = (pixels[:, :3].float().mean((1, 2)) > 127).long()
    unshaken_data.write_arrays(
        tmp_path / "own.npz", x_train=pixels, y_train=y, x_test=pixels, y_test=y
    )
    words = ["--data", tmp_path / "own.npz", "--quiet", "--device", "cpu"]
    train = ["--method", "baseline", "--normalize", how, "--steps", "60", "--batch-size", "20"]
    out, other = tmp_path / "run", tmp_path / "other"
    trained = json.loads(unshaken("train", *train, *words, "--json", "--out", out).out)
    unshaken("train", "--method", "baseline", "--steps", "2", *words, "--out", other)
    few = [*words, "--quick", "--examples", "60"]
    said = unshaken("audit", out, "--compare", other, *few, "--json")
    assert said.code == 0, said
    found = json.loads(said.out)
    assert found["accuracy"] == pytest.approx(100 - trained["rows"][0]["error_mean"])
    assert found["accuracy"] > 60
    told = [each["about"]["normalization"] for each in (found, found["other"])]
    assert told[0] != told[1]
    said = unshaken("audit", out, *few, "--normalize", "centered", "--json")
    assert json.loads(said.out)["about"]["normalization"] == told[1]


def test_a_run_beside_a_network_of_ones_own(run, tmp_path):
    torch.save(other_net(1, 10).state_dict(), tmp_path / "own.pt")
    words = ["--compare", tmp_path / "own.pt", "--data", "digits", "--families", "shift", *FEW]
    said = unshaken("audit", run, "--model", f"{__name__}:other_net", *words)
    assert said.code == 0, said
    assert said.out.count("median threshold") == 2
    # Both are looked at before the first is audited.
    assert "there is no file or folder" in mistake("audit", run, "--compare", "nowhere", *FEW)


def other_net(channels, classes):
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64 * channels, classes))


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
        (["RUN/model.safetensors", "--model", "nets"], "--model must be one of mlp"),
        (["RUN", "--threads", "0"], "threads must be an integer >= 1, got 0"),
    ],
    ids=str,
)
def test_mistakes(run, words, sentence):
    words = [word.replace("RUN", str(run)) for word in words]
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
