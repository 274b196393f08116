"""A user's mistake is one sentence and exit code 2; a defect of ours is not hidden as one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tests.commands import mistake, unshaken, write_npz
from unshaken.cli.values import Mistake
from unshaken.comparison import single
from unshaken.comparison.mistakes import is_mistake, sentence

WORDS = [
    (["tran"], "there is no command 'tran'; did you mean 'train'?"),
    (["--labels", "3"], "the command comes first, one of train, compare"),
    (["compare", "--dta", "x"], "there is no option --dta; did you mean '--data'?"),
    (["compare", "--lab", "20"], "there is no option --lab; did you mean '--labels'?"),
    (["compare", "-q"], "there is no option -q"),
    (["compare", "--dta.x=3"], "there is no option --dta.x; did you mean '--data'?"),
    (["compare", "digits"], "expected an option, as --name value, got 'digits'"),
    (["compare", "--labels"], "--labels needs a value"),
    (["compare", "--settings"], "--settings needs a value"),
    (["compare", "--config"], "--config needs a value"),
    (["train", "--resume=yes"], "--resume is set by its name alone"),
    (["compare", "--labels", "many"], "--labels must be a whole number, got 'many'"),
    (["compare", "--methods"], "--methods must be at least one name, got none"),
    (["compare", "--seeds", "x"], "--seeds must be how many (5) or which (0,3,7), got 'x'"),
    (["compare", "--seeds", "0"], "--seeds must be how many (5) or which (0,3,7), got 0"),
    (["compare", "--seeds", "-1"], "--seeds must be how many (5) or which (0,3,7), got '-1'"),
    (["compare", "--seeds", "1.5"], "got '1.5'"),
    (["compare", "--settings", "3"], "--settings must hold values by name, got 3"),
    (["compare", "--settings", "{a: 1"], "--settings must hold values by name, got '{a: 1'"),
    # Unknown names.
    (["compare", "--data", "digist"], "got 'digist'; did you mean 'digits'?"),
    (["train", "--data", "nowhere/x.npz"], "an existing path, or hub:OWNER/NAME; got 'nowhere"),
    (["train", "--method", "vta"], "--method: there is no method 'vta'; did you mean 'vat'?"),
    (["compare", "--methods", "vat+vmt-shfit"], "'vmt-shfit'; did you mean 'vmt-shift'?"),
    (
        ["compare", "--model", "mpl"],
        "--model must be one of mlp, conv_tiny, conv_small, conv_large",
    ),
    (["compare", "--model", "nothing:here"], "No module named 'nothing'"),
    (["compare", "--normalize", "zac"], "got 'zac'; did you mean 'zca'?"),
    (["train", "--training.lrr", "1"], "got 'lrr'; did you mean 'lr'?"),
    (["train", "--training.optimizer", "adma"], "optimizer must be one of 'adam'"),
    (["train", "--settings.raduis", "1"], "got 'raduis'; did you mean 'radius'?"),
    (["compare", "--settings.vta.radius", "1"], "got 'vta'; did you mean 'vat'?"),
    (["compare", "--settings.baseline.x", "1"], "baseline has no settings, got 'x'"),
    (["compare", "--settings.radius", "1"], "--settings must say whose, as random.radius"),
    (["compare", "--methods", "at-l2", "--settings.vat.radius", "1"], "not among the methods"),
    # Numbers out of range.
    (["train", "--settings.radius", "-1"], "settings of vat: radius must be a finite number >= 0"),
    (["train", "--settings.radius", "nan"], "radius must be a finite number >= 0, got nan"),
    (["train", "--settings.radius", "big"], "vat.radius must be a number, got 'big'"),
    (["compare", "--settings.vat.weight", "-1"], "settings of vat: weight must be"),
    (["train", "--training.lr", "-1"], "lr must be a finite number >= 0, got -1"),
    (["train", "--training.lr", "fast"], "lr must be a finite number >= 0, got 'fast'"),
    (["train", "--training.seed", "1"], "--training does not hold the seed"),
    (["compare", "--steps", "0"], "steps must be an integer >= 1, got 0"),
    (["compare", "--batch-size", "0"], "batch_size must be an integer >= 1, got 0"),
    (["compare", "--batch-size", "1"], "batch_size must be at least 2 for a network with batch"),
    (["compare", "--jobs", "0"], "jobs must be an integer >= 1, got 0"),
    (["compare", "--threads", "0"], "threads must be an integer >= 1, got 0"),
    (["train", "--threads", "-1"], "threads must be an integer >= 1, got -1"),
    (["train", "--seed", "-1"], "seed must be an integer >= 0, got -1"),
    (["train", "--seed", "9" * 20], "seed must be an integer of at most 63 bits"),
    (["compare", "--seeds", "9" * 20 + ","], "--seeds must be how many (5) or which"),
    (["compare", "--seeds", "9" * 20], "--seeds must be how many (5) or which"),
    (["train", "--out", ""], "--out must not be empty"),
    (["train", "--data", " "], "--data must not be empty"),
    (["train", "--augment", "shift:8"], "shift must be less than the 8 pixels of the shortest"),
    (["train", "--epochs", "0"], "epochs must be an integer >= 1, got 0"),
    (["train", "--epochs", "1", "--steps", "1"], "--epochs and --steps both say how long"),
    (["compare", "--validation", "0"], "validation must be an integer >= 1, got 0"),
    (["compare", "--labels", "3"], "labels: expected 10 (one of each class) .. 1297"),
    (["compare", "--labels", "2000"], "labels: expected 10 (one of each class) .. 1297"),
    # Data and methods that do not go together.
    (["train", "--data", "moons", "--method", "vmt-shift"], "method 'vmt-shift' needs inputs"),
    (["train", "--model", "conv_large"], "conv_large takes images of at least 12×12 pixels"),
    (["train", "--data", "mnist"], "or add --download"),
]


@pytest.mark.parametrize(("words", "said"), WORDS, ids=[" ".join(words) for words, _ in WORDS])
def test_words(words, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UNSHAKEN_DATA", str(tmp_path))
    assert said in mistake(*words)


ARRAYS = {
    "missing labels": ({"y_train": None}, "got no y_train"),
    "wrong shapes": (
        {"x_test": np.zeros((20, 4), "f4")},
        "x_test: expected examples of shape (5,)",
    ),
    "too few labels": ({"y_train": np.arange(39) % 2}, "expected as many labels as examples"),
    "labels out of range": ({"y_test": np.arange(20)}, "y_test: expected labels 0 .. 1, got 19"),
    "negative labels": ({"y_train": -np.ones(40, int)}, "y_train: expected labels from 0 on"),
    "half a label": ({"y_train": np.arange(40) / 2}, "y_train: expected whole numbers, got 0.5"),
    "NaN inputs": ({"x_train": np.full((40, 5), np.nan, "f4")}, "x_train: expected finite values"),
    "text": ({"x_train": np.full((40, 5), "x")}, "x_train: expected numbers"),
}


@pytest.mark.parametrize("case", ARRAYS)
@pytest.mark.parametrize("command", ["train", "compare"])
def test_arrays(command, case, tmp_path):
    changes, said = ARRAYS[case]
    path = write_npz(tmp_path / "data.npz", **changes)
    found = mistake(command, "--data", path, "--out", tmp_path / "out")
    assert said in found
    assert "data.npz" in found


CONFIGS = {
    "missing": (None, "--config must name a file, but there is no"),
    "no YAML": (b"labels: [1\n", "--config must name a YAML file"),
    "no text": (b"\xff\xfe\x00", "it is no text in UTF-8"),
    "a list": (b"- a\n", "--config must name a file with options by name, as labels: 100"),
    "unknown option": (b"labls: 3\n", "names no option with 'labls'; did you mean '--labels'?"),
    "wrong number": (b"labels: many\n", "--labels must be a whole number, got 'many'"),
    "wrong flag": (b"quiet: maybe\n", "--quiet must be true or false, got 'maybe'"),
    "wrong text": (b"data: [1]\n", "--data must be text, got [1]"),
    "wrong names": (b"methods: 3\n", "--methods must be names separated by commas, got 3"),
    "wrong seeds": (b"seeds: [a]\n", "--seeds must be how many (5) or which (0,3,7)"),
    "wrong settings": (b"settings: 3\n", "--settings must hold values by name, got 3"),
    "unknown setting": (b"settings: {vat: {raduis: 1}}\n", "did you mean 'radius'?"),
}


@pytest.mark.parametrize("case", CONFIGS)
def test_config_files(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content, said = CONFIGS[case]
    if content is not None:
        Path("config.yaml").write_bytes(content)
    assert said in mistake("compare", "--config", "config.yaml")
    assert "--config must name a file that can be read" in mistake("compare", "--config", ".")


@pytest.mark.parametrize("command", ["train", "compare"])
def test_folders_that_cannot_be_written(command, tmp_path, monkeypatch):
    file = tmp_path / "file"
    file.write_text("x")
    # Said before anything is loaded or trained.
    monkeypatch.setattr(single.Loader, "__call__", lambda *_: pytest.fail("the data were loaded"))
    for path in (file, file / "below", "/proc/nowhere"):
        found = mistake(command, "--data", "digits", "--out", path)
        assert "out must be a folder that can be written" in found
        assert str(path) in found


def test_a_folder_that_may_not_be_read(tmp_path):
    if os.geteuid() == 0:
        pytest.skip("the administrator may read and write everything")
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    assert "can be written" in mistake("compare", "--out", closed)


def wrong_shape(channels: int, size: tuple[int, ...], classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, classes + 1))


def wrong_input(channels: int, size: tuple[int, ...], classes: int) -> nn.Module:
    return nn.Linear(3, classes)


def defect(channels: int, size: tuple[int, ...], classes: int) -> nn.Module:
    raise ValueError("a mistake in somebody's network")


def test_networks_of_the_user(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    said = mistake("train", "--model", f"{__name__}:wrong_shape")
    assert "must give outputs of shape (2, 10)" in said
    assert "got (2, 11)" in said
    said = mistake("train", "--model", f"{__name__}:wrong_input")
    assert "must take inputs of shape (2, 1, 8, 8), but it raised RuntimeError" in said


def test_a_defect_shows_its_traceback(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="somebody's network"):
        unshaken("train", "--model", f"{__name__}:defect")
    # Raised by Python within this package, not written for a user.
    monkeypatch.setattr(single.Loader, "__call__", lambda *_: int("no number"))
    with pytest.raises(ValueError, match="invalid literal"):
        unshaken("train")


@pytest.mark.parametrize("error", [MemoryError, torch.OutOfMemoryError])
def test_too_little_memory(error, tmp_path, monkeypatch):
    def fill(*_):
        raise error("63 GiB")

    monkeypatch.setattr(single.Loader, "__call__", fill)
    said = unshaken("train", "--out", tmp_path)
    assert said.code == 1
    assert said.err == "unshaken: error: not enough memory; a smaller --batch-size needs less\n"


def test_a_sentence_becomes_a_traceback_on_demand(monkeypatch):
    monkeypatch.setenv("UNSHAKEN_DEBUG", "1")
    with pytest.raises(Mistake, match="there is no command"):
        unshaken("nothing")


def test_whose_mistake_it_is():
    def caught(action):
        try:
            action()
        except Exception as error:
            return error
        return None

    ours = caught(lambda: single.Loader()(single.Protocol("nowhere"), 0))
    assert is_mistake(ours)
    missing = caught(Path("/nowhere").read_bytes)
    assert is_mistake(missing)
    assert sentence(missing) == "No such file or directory: /nowhere"
    for defect in (lambda: int("x"), lambda: None + 1, lambda: [][1], lambda: 1 / 0):
        assert not is_mistake(caught(defect))
    assert sentence(caught(lambda: 1 / 0)) == "ZeroDivisionError: division by zero"
    assert not is_mistake(ValueError("never raised"))


@pytest.mark.parametrize(
    "words", [["compare", "--data", "digist"], ["train", "--settings.radius", "-1"]]
)
def test_as_a_process_of_its_own(words, tmp_path):
    source = Path(__file__).parents[1] / "src"
    found = subprocess.run(
        [sys.executable, "-m", "unshaken", *words],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert found.returncode == 2
    assert found.stdout == ""
    assert found.stderr.startswith("unshaken: error: ")
    assert found.stderr.count("\n") == 1
