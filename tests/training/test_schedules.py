import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unshaken.training import schedules
from unshaken.training.schedules import learning_rate_factor


def test_the_formulas():
    constant = learning_rate_factor("constant", 100)
    assert [constant(t) for t in (0, 50, 99)] == [1.0, 1.0, 1.0]
    linear = learning_rate_factor("linear:0.5", 100)
    assert [linear(t) for t in (0, 50, 75, 99, 100)] == [1.0, 1.0, 0.5, 0.02, 0.0]
    whole = learning_rate_factor("linear:0", 100)
    assert [whole(t) for t in (0, 25, 50)] == [1.0, 0.75, 0.5]
    drops = learning_rate_factor("exponential:0.9:500", 2000)
    assert [drops(t) for t in (0, 499, 500, 999, 1000)] == [1.0, 1.0, 0.9, 0.9, 0.9**2]
    cosine = learning_rate_factor("cosine", 100)
    for t in (0, 30, 50, 100):
        assert cosine(t) == pytest.approx(0.5 * (1 + math.cos(math.pi * t / 100)))
    cycles = learning_rate_factor("cyclic:0.6:10", 100)
    for t in (0, 30, 59):
        assert cycles(t) == pytest.approx(0.5 * (1 + math.cos(math.pi * t / 70)))
    shares = learning_rate_factor("cyclic:0.6:0.1", 100)
    assert [shares(t) for t in range(100)] == [cycles(t) for t in range(100)]
    assert [cycles(t) for t in (60, 69, 70, 99)] == [cycles(t) for t in (50, 59, 50, 59)]


def test_a_cycle_must_have_been_run_before_it_is_repeated():
    with pytest.raises(ValueError, match="must have run for a PERIOD"):
        learning_rate_factor("cyclic:0.1:20", 100)


def test_ramps():
    assert [schedules.linear_ramp(t, length=4) for t in range(6)] == [0.25, 0.5, 0.75, 1, 1, 1]
    for t in (0, 3, 10):
        expected = math.exp(-5 * (1 - min(t, 8) / 8) ** 2)
        assert schedules.sigmoid_ramp(t, length=8) == pytest.approx(expected)
    warm = learning_rate_factor("linear:0.5", 100, warmup=4)
    assert [warm(t) for t in (0, 3, 75)] == [0.25, 1.0, 0.5]
    smooth = learning_rate_factor("constant", 100, warmup=10, warmup_shape="sigmoid")
    assert smooth(0) == pytest.approx(math.exp(-5))
    assert smooth(10) == 1.0


@given(
    schedule=st.sampled_from(
        ["constant", "linear:0.3", "exponential:0.5:7", "cosine", "cyclic:0.5:1"]
    ),
    steps=st.integers(1, 50),
    warmup=st.integers(0, 60),
    shape=st.sampled_from(["linear", "sigmoid"]),
    step=st.integers(0, 49),
)
def test_a_factor_is_in_the_unit_interval_and_pure(schedule, steps, warmup, shape, step):
    factor = learning_rate_factor(schedule, steps, warmup=warmup, warmup_shape=shape)
    assert 0.0 <= factor(step) <= 1.0
    assert factor(step) == factor(step)
