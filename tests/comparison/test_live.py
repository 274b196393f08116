"""Tables on a terminal of any width."""

from __future__ import annotations

import sys

import pytest

from unshaken.comparison.live import print_columns

HEADS = ["method", "error %", "− baseline", "p"]
ROWS = [["random-movement", "4.20 ± 0.20", "−1.00 ± 0.20", "0.001"]]


@pytest.mark.parametrize(
    ("columns", "shown"), [(100, 4), (54, 3), (40, 2), (20, 2)], ids=["wide", "54", "40", "20"]
)
def test_a_narrow_terminal_gets_fewer_columns(columns, shown, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    print_columns(HEADS, ROWS)
    out = capsys.readouterr().out
    assert [head in out for head in HEADS[2:]] == [k < shown for k in range(2, 4)]
    if columns >= 40:
        for cell in ROWS[0][:shown]:
            assert cell in out


def test_a_pipe_gets_all(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "20")
    print_columns(HEADS, ROWS, "a title")
    out = capsys.readouterr().out
    assert "a title" in out
    assert all(cell in out for cell in ROWS[0])
    assert "\x1b" not in out
