"""``unshaken doctor``: what it finds, and that it notices what is wrong."""

from __future__ import annotations

import importlib.metadata
import json

import pytest
import torch

from tests.commands import unshaken
from unshaken import VMT, __version__
from unshaken.cli import doctor
from unshaken.data.sources import location


@pytest.fixture(autouse=True)
def _few_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_it_says_what_is_here(monkeypatch, tmp_path):
    monkeypatch.setenv("UNSHAKEN_DATA", str(tmp_path))
    said = unshaken("doctor", "--json")
    found = json.loads(said.out)
    assert (said.code, said.err, found["problems"]) == (0, "", [])
    assert found["unshaken"] == __version__
    assert found["packages"]["torch"].startswith(torch.__version__.split("+")[0])
    assert found["devices"][0]["device"] == "cpu"
    assert found["data folder"] == str(tmp_path)
    assert set(found["data"].values()) == {None}
    words = unshaken("doctor")
    assert words.code == 0
    assert "1 of PyTorch" in words.out and "mnist not there" in words.out


def test_data_are_found_where_they_are(monkeypatch, tmp_path):
    monkeypatch.setenv("UNSHAKEN_DATA", str(tmp_path))
    assert location("svhn") is None
    (tmp_path / "svhn").mkdir()
    (tmp_path / "svhn" / "train_32x32.mat").touch()
    assert location("svhn") == tmp_path / "svhn"
    assert location("cifar10") is None


def test_the_closed_form_agrees():
    state = torch.get_rng_state()
    assert 0 < doctor.deviation(torch.device("cpu")) < 1e-3
    assert torch.equal(state, torch.get_rng_state())


def test_a_device_that_computes_wrongly_is_a_problem(monkeypatch):
    right = VMT.worst

    def wrong(*arguments):
        worst = right(*arguments)
        worst.value.mul_(1.01)
        return worst

    monkeypatch.setattr(VMT, "worst", wrong)
    said = unshaken("doctor")
    assert said.code == 1
    text = " ".join(said.out.split())
    assert "PROBLEM cpu computes wrongly: a rate is off by 0.01 of its size" in text


def test_too_many_threads_are_a_problem(monkeypatch):
    monkeypatch.setattr("joblib.cpu_count", lambda: 0)
    assert "set OMP_NUM_THREADS=" in " ".join(unshaken("doctor").out.split())


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    needs = ["torch>=2", "no-such-core", "no-such-extra>=1; extra == 'hub'"]
    monkeypatch.setattr(importlib.metadata, "requires", lambda _: needs)
    said = unshaken("doctor")
    assert said.code == 1
    text = " ".join(said.out.split())
    assert "no-such-core is missing; pip install no-such-core" in text
    assert 'without no-such-extra: pip install "unshaken[hub]"' in text
