import math

import pytest
import torch

from unshaken.training import clock as clock_module
from unshaken.training.clock import StepClock

CPU = torch.device("cpu")


@pytest.fixture
def now(monkeypatch):
    """A clock that is set by hand."""
    time = {"now": 0.0}
    monkeypatch.setattr(clock_module.time, "process_time", lambda: time["now"])
    return time


def test_what_happens_between_pause_and_resume_is_not_counted(now):
    clock = StepClock(CPU, block=4)
    clock.resume()
    for step in range(1, 13):
        now["now"] += 2.0
        clock.tick()
        if step in (3, 4, 9):
            clock.pause()
            now["now"] += 1000.0
            clock.resume()
    assert clock.seconds_per_step() == 2.0


def test_the_median_ignores_a_slow_start(now):
    clock = StepClock(CPU, block=1)
    clock.resume()
    for seconds in (50.0, 1.0, 1.0, 3.0, 1.0):
        now["now"] += seconds
        clock.tick()
    assert clock.seconds_per_step() == 1.0
    other = StepClock(CPU)
    other.load(clock.state())
    assert other.seconds_per_step() == 1.0


def test_a_long_run_keeps_a_small_sample_of_all_of_it(now):
    clock = StepClock(CPU, block=1, limit=8)
    clock.resume()
    for step in range(1000):
        now["now"] += float(step)
        clock.tick()
    kept = clock.state()
    assert len(kept) < 8
    assert clock.seconds_per_step() == pytest.approx(500, rel=0.25)


def test_no_step_has_no_time():
    assert math.isnan(StepClock(CPU).seconds_per_step())
