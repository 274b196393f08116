"""``unshaken train``: what it leaves, and how it goes on."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.commands import mistake, summary, unshaken, write_npz
from tests.training.helpers import assert_same, weights
from unshaken.comparison.evaluation import Evaluation

SHORT = ["--steps", "12", "--quiet"]


@pytest.fixture
def _no_report(monkeypatch):
    """Leaves out the report, which takes longer than a short run."""
    monkeypatch.setattr("unshaken.comparison.report.write_report", lambda *_: None)


def test_what_a_run_leaves(tmp_path):
    out = tmp_path / "run"
    words = ["train", "--data", "digits", "--method", "vat+vmt-shift", "--epochs", "2"]
    words += ["--labels", "50", "--batch-size", "20", "--seed", "3", "--out", out]
    said = unshaken(*words)
    assert said.code == 0
    # 1297 unlabeled examples in batches of 128 are 11 steps.
    assert "step 22/22" in said.err
    assert said.out.startswith("vat+vmt-shift on digits: ")
    assert "% test error after 22 steps" in said.out
    (row,) = summary(out)["rows"]
    assert row["method"] == "vat+vmt-shift"
    assert row["seeds"] == [3]
    assert row["error_mean"] == row["errors"][0]
    assert row["error_sem"] is row["p_value"] is row["cost_ratio"] is None
    assert row["seconds_per_step"] > 0
    assert summary(out)["environment"]["torch"]
    assert (out / "model.safetensors").is_file()
    assert list((out / "checkpoints").glob("*.pt"))
    report = (out / "report.html").read_text()
    assert "<table" in report
    assert report.count("<figure") >= 3


@pytest.mark.usefixtures("_no_report")
def test_a_run_is_not_begun_twice(tmp_path):
    words = ["train", "--data", "moons", *SHORT, "--out", tmp_path]
    assert unshaken(*words, "--resume").code == 0  # nothing to resume: starts anew
    first = summary(tmp_path)
    said = mistake(*words)
    assert "already holds a run (newest checkpoint step-00000012.pt)" in said
    assert "--resume" in said
    # A finished run is only summed up again.
    assert unshaken(*words, "--resume").code == 0
    assert summary(tmp_path) == first
    for change in (["--steps", "13"], ["--settings.radius", "0.3"], ["--seed", "1"]):
        assert "cannot resume from" in mistake(*words, "--resume", *change)


@pytest.mark.usefixtures("_no_report")
@pytest.mark.parametrize(
    ("number", "name", "code"), [(signal.SIGINT, "SIGINT", 130), (signal.SIGTERM, "SIGTERM", 143)]
)
@pytest.mark.parametrize("data", ["digits", "moons"])
def test_an_interrupted_run_goes_on_to_the_same_numbers(
    tmp_path, monkeypatch, number, name, code, data
):
    words = ["train", "--data", data, *SHORT, "--training.evaluate_every", "4"]
    assert unshaken(*words, "--out", tmp_path / "whole").code == 0

    measure = Evaluation.__call__

    def interrupted(self, model, step):
        if step == 8:
            os.kill(os.getpid(), number)
        return measure(self, model, step)

    monkeypatch.setattr(Evaluation, "__call__", interrupted)
    said = unshaken(*words, "--out", tmp_path / "parts")
    assert said.code == code
    assert said.err.splitlines()[-1] == (
        f"unshaken: stopped by {name} after step 8; the same command with --resume goes on from "
        f"{tmp_path / 'parts' / 'checkpoints' / 'step-00000008.pt'}"
    )
    monkeypatch.setattr(Evaluation, "__call__", measure)
    assert unshaken(*words, "--out", tmp_path / "parts", "--resume").code == 0

    assert_same(weights(tmp_path / "whole"), weights(tmp_path / "parts"))
    for file in ("metrics.jsonl", "config.json"):
        assert (tmp_path / "whole" / file).read_text() == (tmp_path / "parts" / file).read_text()
    rows = [summary(tmp_path / part)["rows"][0] for part in ("whole", "parts")]
    for row in rows:
        row.pop("seconds_per_step")
    assert rows[0] == rows[1]
    for path in (tmp_path / "whole" / "pictures").rglob("*.npz"):
        whole, parts = (
            np.load(tmp_path / part / path.relative_to(tmp_path / "whole"))
            for part in ("whole", "parts")
        )
        assert whole.files == parts.files
        for key in whole.files:
            np.testing.assert_array_equal(whole[key], parts[key])


def test_ctrl_c_before_training(tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("unshaken.comparison.single.Loader.__call__", stop)
    said = unshaken("train", "--out", tmp_path)
    assert (said.code, said.out) == (130, "")
    assert said.err == "unshaken: stopped; what was finished is kept\n"


@pytest.mark.usefixtures("_no_report")
def test_a_loss_that_is_not_finite_is_one_sentence(tmp_path):
    said = unshaken(
        "train", "--data", "moons", *SHORT, "--settings.weight", "1e39", "--out", tmp_path
    )
    assert said.code == 1
    assert said.err.startswith("unshaken: error: the loss became NaN or infinite at step 0: vat=")
    assert said.err.count("\n") == 1


def pictures(folder: Path) -> Path:
    image = pytest.importorskip("PIL.Image")
    generator = np.random.default_rng(1)
    for part, count in (("train", 12), ("test", 4)):
        for k, name in enumerate(("dark", "light")):
            place = folder / part / name
            place.mkdir(parents=True)
            for i in range(count):
                pixels = generator.integers(100 * k, 100 * k + 100, (8, 8), dtype=np.uint8)
                image.fromarray(pixels).save(place / f"{i}.png")
    return folder


@pytest.mark.usefixtures("_no_report")
def test_data_of_the_user(tmp_path):
    sources = {
        "xvat-transductive": write_npz(tmp_path / "data.npz"),
        "vmt-all": pictures(tmp_path / "pictures"),
        "at-linf": "circles",
        "vmt-scale": "sinusoids",
    }
    for method, data in sources.items():
        out = tmp_path / "runs" / method
        said = unshaken("train", "--data", data, "--method", method, *SHORT, "--out", out)
        assert said.code == 0, said
        assert summary(out)["data"]["name"] == str(data)


@pytest.mark.usefixtures("_no_report")
def test_errors_on_validation_examples(tmp_path):
    words = ["train", "--method", "baseline", "--validation", "97", *SHORT, "--out", tmp_path]
    said = unshaken(*words)
    assert "% validation error after 12 steps" in said.out
    history = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert summary(tmp_path)["rows"][0]["errors"] == [history[-1]["validation_error"]]
    assert "test_error" not in history[-1]
    # 97 examples: any multiple of 1/97.
    assert round(history[-1]["validation_error"] * 0.97, 6).is_integer()


@pytest.mark.usefixtures("_no_report")
@pytest.mark.parametrize("precision", ["64", "bf16"])
def test_other_precisions(tmp_path, precision):
    words = ["train", "--method", "vat", *SHORT, "--training.precision", precision]
    assert unshaken(*words, "--training.ema", "0.9", "--out", tmp_path).code == 0


@pytest.mark.usefixtures("_no_report")
def test_a_short_run_still_has_a_curve(tmp_path):
    unshaken("train", "--data", "moons", "--steps", "30", "--quiet", "--out", tmp_path)
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 10


@pytest.mark.usefixtures("_no_report")
def test_a_network_of_the_folder_at_hand_and_data_in_one_file(tmp_path, monkeypatch):
    """No PYTHONPATH: what the installed command, unlike ``python -m``, does not have."""
    (tmp_path / "own_networks").mkdir()
    (tmp_path / "own_networks" / "wide.py").write_text(
        "from torch import nn\n"
        "def make(channels, size, classes):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(channels, 7), nn.Linear(7, classes))\n"
    )
    write_npz(tmp_path / "own.npz")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path not in ("", ".")])
    words = ["train", "--data", "own.npz", "--method", "vat", "--model", "own_networks.wide:make"]
    said = unshaken(*words, *SHORT)
    assert said.code == 0, said
    assert weights(tmp_path / "run")["1.weight"].shape == (7, 5)
    for name in ("own_networks.wide", "own_networks"):
        del sys.modules[name]


@pytest.mark.usefixtures("_no_report")
def test_the_summary_as_json(tmp_path):
    said = unshaken("train", "--data", "moons", *SHORT, "--out", tmp_path, "--json")
    assert said.code == 0
    assert json.loads(said.out) == summary(tmp_path)
