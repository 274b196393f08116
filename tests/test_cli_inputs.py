"""What options say of inputs and network: augmentation, normalization, device, model."""

import json

import pytest
import torch

from tests.commands import mistake, summary, unshaken, write_npz
from unshaken.comparison.protocol import named
from unshaken.data import load, read_normalization

SHORT = ["--steps", "6", "--quiet"]


def test_augmentation_is_done_and_told(tmp_path):
    words = ["train", "--data", "digits", "--method", "vat", *SHORT]
    out = tmp_path / "moved"
    assert unshaken(*words, "--augment", "shift:2,flip", "--out", out).code == 0
    told = "shifts of up to 2 pixels along each axis; mirrored left to right with probability 1/2"
    assert summary(out)["data"]["augmentation"] == told
    assert told in (out / "report.html").read_text()
    settings = json.loads((out / "config.json").read_text())["settings"]
    assert settings["augment"] == {"shift": 2, "flip": True}
    said = mistake(*words, "--out", out, "--resume")
    assert "cannot resume" in said
    assert "'augment'" in said

    assert unshaken(*words, "--augment", "none", "--out", tmp_path / "still").code == 0
    assert summary(tmp_path / "still")["data"]["augmentation"] == "none"
    assert summary(out)["rows"][0]["errors"] != summary(tmp_path / "still")["rows"][0]["errors"]


def test_augmentation_is_part_of_what_a_comparison_knows_its_runs_by(tmp_path):
    words = ["compare", "--data", "digits", "--methods", "baseline", "--seeds", "1", *SHORT]
    words += ["--jobs", "1", "--out", tmp_path]
    run = tmp_path / "runs/baseline/seed-0.json"
    assert unshaken(*words).code == 0
    first = json.loads(run.read_text())
    assert unshaken(*words, "--augment", "shift:1").code == 0
    second = json.loads(run.read_text())
    assert first["fingerprint"] != second["fingerprint"]
    assert first["history"] != second["history"]
    assert "shifts of up to 1 pixels" in summary(tmp_path)["data"]["augmentation"]
    plain = named("digits")
    assert plain.fingerprint("vat", {}) != plain.with_changes(augment={"flip": True}).fingerprint(
        "vat", {}
    )


@pytest.mark.parametrize("text", ["shift", "shift:x", "shift:-1", "shift:0", "turn", "edge", ""])
def test_an_augmentation_that_is_none(text):
    assert "--augment must" in mistake("train", f"--augment={text}")


def test_vectors_cannot_be_moved(tmp_path):
    said = mistake("train", "--data", write_npz(tmp_path / "d.npz"), "--augment", "flip")
    assert said == "augment needs inputs (N, C, *size), got plain vectors of 5 values"


@pytest.mark.parametrize("normalize", ["zca", "standard", "centered"])
def test_the_normalization_stays_beside_the_run(tmp_path, normalize):
    words = ["train", "--data", "sinusoids", "--method", "baseline", "--normalize", normalize]
    if normalize == "centered":
        words[2] = "digits"
    assert unshaken(*words, *SHORT, "--out", tmp_path).code == 0
    kept = read_normalization(tmp_path / "normalization.safetensors")
    data = load(words[2], normalize=normalize)
    raw = load(words[2], normalize="unit" if normalize == "centered" else "none")
    torch.testing.assert_close(kept.apply(raw.x_test), data.x_test)


def test_precision_average_and_device(tmp_path):
    words = ["train", "--method", "vat", *SHORT, "--device", "cpu", "--out", tmp_path]
    assert unshaken(*words, "--training", '{"precision": "bf16", "ema": 0.9}').code == 0
    config = json.loads((tmp_path / "config.json").read_text())["config"]
    assert (config["precision"], config["ema"]) == ("bf16", 0.9)
    assert "device must be 'cpu', 'cuda' or 'cuda:N'" in mistake(
        "train", "--device", "tpu", "--out", tmp_path / "other"
    )


def tiny(channels: int, size: tuple[int, ...], classes: int) -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(channels * 64, classes))


@pytest.mark.parametrize("option", ["--model", "--network"])
def test_a_network_of_the_user(tmp_path, option):
    words = ["train", "--data", "digits", "--method", "vat", *SHORT, "--out", tmp_path]
    assert unshaken(*words, option, f"{__name__}:tiny").code == 0
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["settings"]["network"] == {"name": f"{__name__}:tiny"}
