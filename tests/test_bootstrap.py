import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def bootstrap(tmp_path: Path) -> ModuleType:
    """The script as it would be in a checkout of its own, with nothing set up."""
    for name in ("bootstrap.py", "constraints.txt", "pyproject.toml"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    spec = importlib.util.spec_from_file_location("bootstrap_copy", tmp_path / "bootstrap.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def finished(bootstrap: ModuleType) -> ModuleType:
    """The same after a set-up for the demo whose Python is this one."""
    bootstrap.PYTHON.parent.mkdir(parents=True)
    bootstrap.PYTHON.symlink_to(sys.executable)
    lines = [bootstrap.surroundings(), bootstrap.digest(), bootstrap.CORE]
    bootstrap.MARKER.write_text("\n".join(lines), "utf-8")
    return bootstrap


def test_a_finished_set_up_is_skipped_and_serves_no_more_than_it_holds(finished):
    assert finished.is_current(finished.CORE)
    assert not finished.is_current(finished.ALL)
    finished.MARKER.write_text(finished.MARKER.read_text() + finished.ALL)
    assert finished.is_current(finished.CORE)
    assert finished.is_current(finished.ALL)


@pytest.mark.parametrize("name", ["bootstrap.py", "constraints.txt", "pyproject.toml"])
def test_a_change_of_what_is_installed_asks_for_a_set_up(finished, name):
    path = finished.ROOT / name
    path.write_text(path.read_text("utf-8") + "\n# changed\n", "utf-8")
    assert not finished.is_current(finished.CORE)


def test_a_damaged_environment_asks_for_a_set_up(finished):
    finished.MARKER.write_text("torn")
    assert not finished.is_current(finished.CORE)


def test_a_lost_interpreter_asks_for_a_set_up(finished):
    finished.PYTHON.unlink()
    assert not finished.is_current(finished.CORE)


def test_a_failing_step_shows_the_end_of_its_output_and_leaves_no_marker(finished, monkeypatch):
    fail = [sys.executable, "-c", "print('no such package'); raise SystemExit(3)"]
    monkeypatch.setattr(finished, "call", _always(finished.call, fail))
    finished.MARKER.write_text(finished.MARKER.read_text() + "[old]")
    with pytest.raises(SystemExit, match=r"(?s)exit code 3.*no such package.*starts the set-up"):
        finished.set_up(finished.CORE)
    assert not finished.MARKER.exists()


def test_an_interrupted_step_is_no_failure_of_its_own(finished, monkeypatch, capsys):
    monkeypatch.setattr(finished, "call", lambda command, folder=None, log=None: 143)
    finished.MARKER.write_text(finished.MARKER.read_text() + "[old]")
    with pytest.raises(SystemExit) as stop:
        finished.set_up(finished.CORE)
    assert stop.value.code == 143
    assert "interrupted" in capsys.readouterr().out


def _always(call, command):
    return lambda _, folder=None, log=None: call(command, folder, log)


def test_a_folder_that_cannot_be_written_is_said_in_one_sentence(bootstrap):
    bootstrap.ENVIRONMENT.write_text("a file where the folder should be")
    with pytest.raises(SystemExit, match=r"cannot be written: .*elsewhere"):
        bootstrap.set_up(bootstrap.CORE)


def test_later_arguments_come_after_the_demo_s_own(finished, monkeypatch):
    seen = []
    monkeypatch.setattr(finished, "call", lambda command, folder=None: seen.append(command) or 7)
    assert finished.main(["demo", "--seeds", "1"]) == 7
    assert seen[0][-2:] == ["--seeds", "1"]
    assert seen[0][1:4] == ["-m", "unshaken", "compare"]


def test_lint_runs_every_tool_and_reports_a_failure(finished, monkeypatch):
    codes = iter([0, 1, 0])
    monkeypatch.setattr(finished, "is_current", lambda extras: True)
    monkeypatch.setattr(finished, "call", lambda command, folder: next(codes))
    assert finished.main(["lint"]) == 1
    assert list(codes) == []


def test_docs_are_built_and_said_where(finished, monkeypatch, capsys):
    seen = []
    monkeypatch.setattr(finished, "is_current", lambda extras: True)
    monkeypatch.setattr(finished, "call", lambda command, folder: seen.append(command) or 0)
    assert finished.main(["docs"]) == 0
    assert "-W" in seen[0] and seen[0][-2:] == ["docs", "docs/_build"]
    assert "index.html" in capsys.readouterr().out


def test_a_child_gets_one_thread_unless_the_user_says_otherwise(bootstrap, monkeypatch):
    script = "import os; raise SystemExit(int(os.environ['OMP_NUM_THREADS']))"
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert bootstrap.call([sys.executable, "-c", script]) == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert bootstrap.call([sys.executable, "-c", script]) == 3


@pytest.mark.skipif(os.name == "nt", reason="Windows has no signals of this kind")
def test_a_child_ended_by_a_signal_gives_the_shell_s_exit_code(bootstrap):
    script = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    assert bootstrap.call([sys.executable, "-c", script]) == 128 + 9


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["tset"], "knows the jobs demo, test, lint, docs and setup, not 'tset'"),
        (["lint", "src"], "lint takes no arguments, got src"),
    ],
)
def test_a_mistaken_call_is_explained(arguments, sentence):
    run = subprocess.run(
        [sys.executable, ROOT / "bootstrap.py", *arguments], capture_output=True, text=True
    )
    assert run.returncode == 1
    assert sentence in run.stderr


def test_the_demo_needs_torch_pinned(bootstrap):
    assert bootstrap.torch_pin().startswith("torch==")
    bootstrap.CONSTRAINTS.write_text("numpy==2\n")
    with pytest.raises(SystemExit, match="must pin torch"):
        bootstrap.torch_pin()
