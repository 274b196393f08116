import io
import json
import shutil
import sys

import pytest

from unshaken.training import (
    CheckpointError,
    JsonLines,
    Logger,
    TensorBoardLogger,
    progress_for,
    train,
)
from unshaken.training.progress import LineProgress, RichProgress

from .helpers import accuracy, config, noise, objective


class Notes:
    def __init__(self) -> None:
        self.entries, self.closed = [], 0

    def log(self, step, metrics):
        self.entries.append((step, dict(metrics)))

    def close(self):
        self.closed += 1


def test_loggers_receive_each_evaluation_and_are_closed():
    data, split = noise()
    notes = Notes()
    assert isinstance(notes, Logger)
    result = train(objective(), data, split, config(), evaluate=accuracy, loggers=[notes])
    assert [{"step": step, **metrics} for step, metrics in notes.entries] == result.history
    assert notes.closed == 1

    def broken(model, step):
        raise ZeroDivisionError

    notes = Notes()
    with pytest.raises(ZeroDivisionError):
        train(objective(), data, split, config(), evaluate=broken, loggers=[notes])
    assert notes.closed == 1


def test_json_lines(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 99}\n{"st')  # what a killed run left
    log = JsonLines(path, [{"step": 1, "loss": 0.5}])
    log.log(2, {"loss": 0.25})
    log.close()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines == [{"step": 1, "loss": 0.5}, {"step": 2, "loss": 0.25}]


def test_a_folder_that_is_gone_is_one_sentence(tmp_path):
    (tmp_path / "run").mkdir()
    log = JsonLines(tmp_path / "run/metrics.jsonl")
    shutil.rmtree(tmp_path / "run")
    with pytest.raises(CheckpointError, match=r"cannot write .*metrics\.jsonl: No such file"):
        log.log(1, {})


def test_tensorboard_says_what_is_missing(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ImportError, match=r"pip install 'unshaken\[logs\]'"):
        TensorBoardLogger(tmp_path)


def test_tensorboard_writes_scalars(tmp_path):
    pytest.importorskip("tensorboard")
    log = TensorBoardLogger(tmp_path)
    log.log(3, {"loss": 0.5})
    log.close()
    assert list(tmp_path.glob("events.out.tfevents*"))


def test_lines_on_a_pipe():
    stream = io.StringIO()
    progress = progress_for(stream)
    assert isinstance(progress, LineProgress)
    data, split = noise()
    train(objective(), data, split, config(), evaluate=accuracy, progress=progress)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 4
    assert lines[1].startswith("step 10/20  ")
    assert "steps/s, 0:00:0" in lines[1]
    assert "accuracy " in lines[1]
    assert "\x1b" not in stream.getvalue()


def test_long_waits_between_evaluations_show_a_line():
    stream = io.StringIO()
    progress = LineProgress(stream, seconds=0.0)
    progress.start(4, 10)
    progress.advance(5)
    assert stream.getvalue().startswith("step 5/10  ")


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_bar_on_a_terminal():
    stream = Terminal()
    progress = progress_for(stream)
    assert isinstance(progress, RichProgress)
    data, split = noise()
    progress.say("before")
    train(objective(), data, split, config(), evaluate=accuracy, progress=progress)
    text = stream.getvalue()
    assert "before" in text
    assert "20/20" in text
    assert "steps/s" in text


def test_quiet_shows_nothing():
    assert progress_for(quiet=True) is None
