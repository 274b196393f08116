"""Two processes of torchrun on the CPU (gloo) against one."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from unshaken.training import latest, load_model_weights, train

from .distributed import APART, METHODS, exact, method, signals, without_draws
from .helpers import assert_same, config

ROOT = Path(__file__).resolve().parents[2]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder, and what each of the two processes found."""
    folder = tmp_path_factory.mktemp("distributed")
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    command += ["--master-port", str(free_port()), "tests/training/distributed.py", str(folder)]
    paths = f"{ROOT / 'src'}{os.pathsep}{ROOT}"
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return folder, [torch.load(folder / f"found-{rank}.pt") for rank in (0, 1)]


def test_two_processes_equal_one(run):
    folder, found = run
    one = exact()
    for two in found:
        for name, value in one["weights"].items():
            torch.testing.assert_close(two["exact"]["weights"][name], value, rtol=0, atol=1e-6)
            assert (two["exact"]["weights"][name] - value).abs().max() < 1e-12
        for a, b in zip(one["history"], two["exact"]["history"], strict=True):
            assert a == pytest.approx(b, abs=1e-9)
    assert_same(load_model_weights(folder / "exact"), found[0]["exact"]["weights"])


@pytest.mark.parametrize("name", METHODS)
def test_no_method_depends_on_the_number_of_processes(run, name):
    """Draws of adversaries and of augmentation, and the balance over the whole batch, included."""
    state, history = method(name)
    for found in run[1]:
        two, course = found["methods"][name]
        assert state.keys() == two.keys()
        for key, value in state.items():
            torch.testing.assert_close(two[key], value, rtol=0, atol=1e-9)
        for a, b in zip(history, course, strict=True):
            assert a == pytest.approx(b, abs=1e-9)


@pytest.mark.parametrize("name", APART)
def test_what_depends_on_the_share_of_the_batch_stays_alike_in_all_processes(run, name):
    first, second = (found["apart"][name] for found in run[1])
    moved = dict(method(name)[0])
    for key, value in first.items():
        if "running" not in key:
            assert torch.equal(value, second[key]), key
            assert value.shape == moved[key].shape


def test_the_program_trains_in_several_processes(run):
    folder, found = run
    (code, out, _), other = found[0]["commanded"], found[1]["commanded"]
    assert code == other[0] == 0
    assert other[1] == ""  # the first process alone reports
    (row,) = json.loads(out)["rows"]
    assert row["method"] == "at-l2" and row["errors"]
    assert (folder / "commanded" / "report.html").exists()


def test_learned_adversaries_stay_alike_in_all_processes(run):
    _, found = run
    for name, value in found[0]["masked"].items():
        # Each process has the batch statistics of its share; those of the first are kept.
        if "running" not in name:
            assert torch.equal(value, found[1]["masked"][name]), name
    assert any(name.startswith("regularizers") for name in found[0]["masked"])


def test_a_signal_to_one_stops_all_after_the_same_step(run):
    _, found = run
    assert found[0]["resumed"]["step"] == found[1]["resumed"]["step"] >= 7


def test_resumed_is_the_same_to_the_last_bit(run):
    _, found = run
    for rank in (0, 1):
        assert_same(found[rank]["resumed"]["whole"], found[rank]["resumed"]["parts"])
    # Batch-norm statistics are those of the first process.
    assert_same(found[0]["resumed"]["whole"][1], found[1]["resumed"]["whole"][1])


def test_a_loss_that_breaks_in_one_is_named_in_all(run):
    folder, found = run
    assert found[0]["broken"] == found[1]["broken"]
    assert found[0]["broken"]["step"] == 6
    assert len(found[0]["broken"]["labeled"]) == 4
    kept = latest(folder / "broken/checkpoints")
    assert kept is None or kept[1]["step"] <= 6


def test_errors_are_raised_in_all(run):
    _, found = run
    for rank in (0, 1):
        uneven, taken, unwritable = found[rank]["refused"]
        assert uneven == "batch_size must be divisible by the 2 processes, got 3"
        assert "already holds a run" in taken
        assert unwritable.startswith("cannot write")


def test_one_process_may_go_on_with_what_two_began(run):
    folder, _ = run
    settings = config(
        precision="64", accumulate=2, ema=0.9, clip=0.5, schedule="linear:0.5", weight_decay=0.01
    )
    with pytest.warns(UserWarning, match="written by 2 processes and is resumed by 1"):
        result = train(
            without_draws(),
            *signals(),
            settings,
            device="cpu",
            out=folder / "exact",
            resume=True,
        )
    assert result.steps == 20
