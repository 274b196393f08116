import subprocess

import torch

import unshaken
from unshaken.comparison import environment as module
from unshaken.comparison.environment import environment, provenance


def test_where_numbers_come_from():
    found = environment(jobs=3, threads=2)
    assert found["unshaken"] == unshaken.__version__
    assert found["torch"] == torch.__version__
    assert found["processor"]
    assert (found["processes"], found["threads"]) == (3, 2)
    assert environment()["threads"] == torch.get_num_threads()


def test_runs_of_several_days_are_told_apart():
    runs = [{**provenance(), "commit": commit, "gpu": None} for commit in ("a", "b", "a", None)]
    found = environment(runs=runs)
    assert found["commit"] == "a, b, none"
    assert found["torch"] == torch.__version__
    assert found["gpu"] is None


def test_without_git(monkeypatch):
    def missing(*_, **__):
        raise FileNotFoundError("git")

    monkeypatch.setattr(subprocess, "run", missing)
    assert module._commit() is None


def test_the_commit_is_of_this_package():
    commit = module._commit()
    assert commit is None or len(commit.removesuffix("+changes")) == 12
