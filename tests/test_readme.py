"""The README says what is true: its code runs, its numbers are the stored ones."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from unshaken.cli.program import COMMANDS

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text("utf-8")


def test_code_runs_from_top_to_bottom(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # it writes a report
    blocks = re.findall(r"```python\n(.*?)```", README, re.S)
    assert len(blocks) >= 4
    torch.manual_seed(0)
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    assert set(names["objective"].report) == {"loss", "vat", "vmt"}
    assert names["worst"].displacement.shape == (100, 2, 8, 8)
    x, y = names["x"], names["y"]
    assert names["bulge"](names["model"], x, y).item() > 0


def test_commands_exist():
    commands = re.findall(r"^(?:python3 (\S+)|unshaken (\w+))", README, re.M)
    assert commands
    for script, verb in commands:
        assert not script or (ROOT / script).is_file()
        assert not verb or verb in COMMANDS


def test_results_are_the_stored_ones():
    if not (ROOT / "benchmarks" / "results" / "digits" / "summary.json").is_file():
        pytest.skip("no stored results in this copy")
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "show_results.py"), "--check"],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_links_and_pictures_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert "://" in target or (ROOT / target).exists(), target
