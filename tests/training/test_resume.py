"""Stopped and resumed is the same as never stopped, to the last bit."""

import json
import os
import signal
import subprocess
import sys
import warnings
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from unshaken import VAT, AlarmWarning, EntropyMinimization, Objective
from unshaken.data import Dataset
from unshaken.training import CheckpointError, Interrupted, latest, train

from .helpers import accuracy, assert_same, config, network, noise, objective, weights

ROOT = Path(__file__).resolve().parents[2]

SETTINGS = {
    "adam, dropout, average, accumulation": {"ema": 0.9, "accumulate": 3},
    "sgd, clipping": {"optimizer": "sgd", "clip": 0.5, "schedule": "cosine"},
    "adamw, decay": {"optimizer": "adamw", "weight_decay": 0.1, "decay_norms": False, "warmup": 9},
    "supervised": {"unlabeled_batch_size": 0, "schedule": "linear:0.5"},
    "float64": {"precision": "64"},
}


class StopAfter:
    """A progress that sends this process a signal after some steps."""

    def __init__(self, step: int, number: int = signal.SIGTERM) -> None:
        self.at, self.number, self.said = step, number, []

    def start(self, step, total): ...

    def advance(self, step):
        if step == self.at:
            os.kill(os.getpid(), self.number)

    def evaluated(self, step, metrics): ...

    def say(self, sentence):
        self.said.append(sentence)

    def close(self): ...


def go(folder, settings, /, *, step=None, resume=False, **options):
    data, split = noise()
    stop = None if step is None else StopAfter(step)
    options = {"evaluate": accuracy, "progress": stop, "device": "cpu", **options}
    return train(objective(), data, split, settings, out=folder, resume=resume, **options)


@pytest.mark.parametrize("name", SETTINGS)
def test_resumed_is_the_same_to_the_last_bit(tmp_path, name):
    settings = config(**SETTINGS[name])
    whole = go(tmp_path / "whole", settings)
    for step in (3, 10, 14):  # inside a period, at an evaluation, at the one before the next
        with pytest.raises(Interrupted) as error:
            go(tmp_path / "parts", settings, step=step, resume=True)
        assert error.value.step == step
        assert error.value.checkpoint == tmp_path / f"parts/checkpoints/step-{step:08d}.pt"
        assert error.value.exit_code == 128 + signal.SIGTERM
    parts = go(tmp_path / "parts", settings, resume=True)

    assert parts.history == whole.history
    assert parts.steps == whole.steps == 20
    assert_same(weights(tmp_path / "parts"), weights(tmp_path / "whole"))
    lines = (tmp_path / "parts/metrics.jsonl").read_text()
    assert lines == (tmp_path / "whole/metrics.jsonl").read_text()
    assert [json.loads(line) for line in lines.splitlines()] == whole.history
    states = [latest(tmp_path / part / "checkpoints") for part in ("whole", "parts")]
    for state in states:
        state[1].pop("clock")
    assert_same(states[0][1], states[1][1])


def test_the_alarms_of_a_run_in_parts_are_those_of_a_whole_one(tmp_path):
    data, split = noise()

    def alarms(folder, step=None):
        """What a run, or its last part, warned of."""
        terms = (VAT(radius=0.0), EntropyMinimization(weight=0.0))
        stop = None if step is None else StopAfter(step)
        settings = config(steps=90, evaluate_every=0)
        with warnings.catch_warnings(record=True) as caught, suppress(Interrupted):
            warnings.simplefilter("always", AlarmWarning)
            train(
                Objective(network(), *terms),
                data,
                split,
                settings,
                out=folder,
                resume=True,
                progress=stop,
                device="cpu",
            )
        return [str(w.message) for w in caught]

    whole = alarms(tmp_path / "whole")
    assert ["'vat'" in said for said in sorted(whole)] == [True, False]
    for step in (2, 40, 85):  # before any counts, amid probes, when all is said
        alarms(tmp_path / "parts", step)
    assert sorted(alarms(tmp_path / "parts")) == sorted(whole)


def test_nothing_to_resume_starts_anew_and_says_so(tmp_path):
    stop = StopAfter(-1)
    result = go(tmp_path / "run", config(steps=2), resume=True, progress=stop)
    assert result.resumed_from is None
    assert stop.said == ["nothing to resume: starting anew"]


def test_a_finished_run_is_not_trained_again(tmp_path):
    first = go(tmp_path, config())
    before = weights(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    again = go(tmp_path, config(), resume=True)
    assert again.history == first.history
    assert again.resumed_from == tmp_path / "checkpoints/step-00000020.pt"
    assert_same(weights(tmp_path), before)


def test_a_run_is_not_overwritten_unasked(tmp_path):
    go(tmp_path, config(steps=5))
    with pytest.raises(CheckpointError, match=r"already holds a run .*step-00000005\.pt\): resume"):
        go(tmp_path, config(steps=5))


def test_a_damaged_newest_checkpoint_costs_one_period(tmp_path):
    whole = go(tmp_path / "whole", config())
    with pytest.raises(Interrupted):
        go(tmp_path / "run", config(keep=1), step=12)
    newest = tmp_path / "run/checkpoints/step-00000012.pt"
    older = newest.with_name("step-00000010.pt")
    older.write_bytes((tmp_path / "whole/checkpoints" / older.name).read_bytes())
    damaged = bytearray(newest.read_bytes())
    damaged[len(damaged) // 3] ^= 4
    newest.write_bytes(damaged)
    with pytest.warns(UserWarning, match=r"step-00000012.pt is damaged: .* to step-00000010.pt"):
        result = go(tmp_path / "run", config(keep=1), resume=True)
    assert result.history == whole.history
    assert_same(weights(tmp_path / "run"), weights(tmp_path / "whole"))
    # Set aside, so that it does not count among those that are kept.
    assert sorted(path.name for path in newest.parent.glob("step*")) == [
        "step-00000012.pt.damaged",
        "step-00000020.pt",
    ]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"lr": 0.5, "seed": 9}, "another lr: the run began with 0.01, got 0.5"),
        ({"steps": 30}, "another steps: the run began with 20, got 30"),
        ({"ema": 0.5}, "another ema: the run began with None, got 0.5"),
    ],
)
def test_other_settings_are_refused(tmp_path, change, named):
    with pytest.raises(Interrupted):
        go(tmp_path, config(), step=7)
    with pytest.raises(ValueError, match=named):
        go(tmp_path, config(**change), resume=True)
    go(tmp_path, config(evaluate_every=3, checkpoint_every=2, keep=1), resume=True)


def test_another_run_is_refused(tmp_path):
    with pytest.raises(Interrupted):
        go(tmp_path, config(), step=7, settings={"method": "vat", "sizes": (1, 2)})
    data, split = noise()
    same = {"out": tmp_path, "resume": True, "settings": {"method": "vat", "sizes": [1, 2]}}
    with pytest.raises(ValueError, match=r"another settings 'method': .*'vat', got 'at'"):
        train(objective(), data, split, config(), **{**same, "settings": {"method": "at"}})
    other = Dataset("other", data.x_train, data.y_train, data.x_test, data.y_test, 2)
    with pytest.raises(ValueError, match=r"another data 'name': .*'noise', got 'other'"):
        train(objective(), other, split, config(), **same)
    stronger = Objective(network(), VAT(radius=2.0), alarm=False)
    with pytest.raises(ValueError, match=r"another regularizer: .*0\.5.*got .*2"):
        train(stronger, data, split, config(), **same)
    wider = objective()
    wider.model[4] = torch.nn.Linear(8, 3)
    with pytest.raises(ValueError, match=r"another network: model\.4\.weight: .*\(2, 8\), got"):
        train(wider, data, split, config(), **same)
    train(objective(), data, split, config(), **same)


def test_resume_needs_a_folder():
    data, split = noise()
    with pytest.raises(ValueError, match="resume=True needs out="):
        train(objective(), data, split, config(), resume=True)


def test_two_processes_cannot_train_in_one_folder(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    code = (
        "import fcntl, sys, time\n"
        f"lock = open({str(tmp_path / 'checkpoints/.lock')!r}, 'w')\n"
        "fcntl.flock(lock, fcntl.LOCK_EX)\n"
        "print('locked', flush=True)\n"
        "sys.stdin.read()\n"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", code], **pipes) as other:
        assert other.stdout.readline() == "locked\n"
        with pytest.raises(CheckpointError, match="another process is training in"):
            go(tmp_path, config())
        other.communicate("")
    go(tmp_path, config(steps=2))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_at_any_moment_it_resumes_to_the_same_numbers(tmp_path):
    slow = bool(os.environ.get("UNSHAKEN_SLOW"))
    command = [sys.executable, "-m", "tests.training.survival", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": f"src{os.pathsep}.", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, "60" if slow else "8", "0"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["kills"] == (60 if slow else 8)
