"""Memory, arithmetic and time are what they are in cases with known answers."""

from __future__ import annotations

import os
import statistics

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from unshaken.benchmark import memory, timing, work
from unshaken.benchmark.contenders import Contender, Field
from unshaken.benchmark.timing import quartiles

CPU = torch.device("cpu")
N = 100_000
FLOAT = 4


class TestMemory:
    def test_what_is_held_at_once_counts_and_what_is_released_does_not(self):
        def hold():
            a = torch.empty(N)
            b = torch.empty(2 * N)
            del a
            c = torch.empty(N // 2)
            del b, c

        assert memory.peak(hold, CPU) == 3 * N * FLOAT
        assert memory.peak(hold, CPU) == 3 * N * FLOAT

    def test_what_was_held_before_does_not_count(self):
        kept = []
        assert memory.peak(lambda: kept.append(torch.empty(N)), CPU) == N * FLOAT
        assert memory.peak(lambda: kept.append(torch.empty(N)), CPU) == N * FLOAT

    def test_nothing_takes_nothing(self):
        assert memory.peak(lambda: None, CPU) == 0

    @pytest.mark.parametrize("depth", [4, 9])
    def test_backward_releases_layer_by_layer(self, depth):
        """The fullest moment is the first exp of the backward pass, from which on each step takes
        one gradient and releases another together with a result that exp had kept."""
        x = torch.zeros(N, requires_grad=True)

        def chain():
            y = x
            for _ in range(depth):
                y = y.exp() * 0.5  # exp keeps its result, the product nothing
            y.backward(torch.ones_like(y))
            x.grad = None

        # Every result of exp; y, the gradient given for it, those of the product and of the exp.
        expected = (depth + 4) * N * FLOAT
        assert memory.peak(chain, CPU) == pytest.approx(expected, abs=100)

    def test_the_environment_is_left_as_it_was(self):
        before = dict(os.environ)
        memory.peak(lambda: None, CPU)
        assert dict(os.environ) == before


class TestArithmetic:
    def test_a_matrix_product(self):
        a, b = torch.randn(3, 5), torch.randn(5, 7)
        assert work.flops(lambda: a @ b) == 2 * 3 * 5 * 7

    def test_a_convolution(self):
        layer = nn.Conv2d(3, 8, 3, padding=1)
        x = torch.randn(2, 3, 6, 6)
        assert work.flops(lambda: layer(x)) == 2 * 2 * 8 * 6 * 6 * 3 * 9

    @pytest.mark.parametrize("input_gradient", [False, True])
    def test_a_step_is_three_passes_less_the_first_input_gradient(self, input_gradient):
        model = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1))
        x = torch.randn(2, 4, 6, 6, requires_grad=input_gradient)
        forward = work.flops(lambda: model(x))
        step = work.flops(lambda: model(x).sum().backward())
        assert step / forward == (3 if input_gradient else 2.5)

    def test_double_backward_is_six_passes(self):
        model = nn.Sequential(nn.Linear(6, 6, bias=False), nn.Tanh(), nn.Linear(6, 6, bias=False))
        x = torch.randn(5, 6, requires_grad=True)
        forward = work.flops(lambda: model(x))

        def penalty():
            (g,) = torch.autograd.grad(
                F.cross_entropy(model(x), torch.arange(5), reduction="sum"), x, create_graph=True
            )
            g.square().sum().backward()

        assert 5 <= work.flops(penalty) / forward <= 7


class Event:
    """Stands in for a device's: each record is 6 ms after the one before."""

    now = 0.0

    def __init__(self, enable_timing):
        assert enable_timing

    def record(self):
        Event.now += 6.0
        self.at = Event.now

    def elapsed_time(self, end):
        return end.at - self.at


class TestDevice:
    """A GPU's clock and memory, with the few calls to it replaced."""

    def test_time_between_events_is_in_seconds_a_step(self, monkeypatch):
        waited = []
        monkeypatch.setattr(torch.cuda, "Event", Event)
        monkeypatch.setattr(torch.cuda, "synchronize", lambda: waited.append(1))
        ran = []
        assert timing.seconds_of(lambda: ran.append(1), 3, "device events") == pytest.approx(0.002)
        assert len(ran) == 3
        assert waited == [1]

    def test_memory_is_what_was_held_at_most_beyond_the_start(self, monkeypatch):
        told = []
        monkeypatch.setattr(torch.cuda, "synchronize", lambda _: told.append("wait"))
        monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda _: told.append("reset"))
        monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 100)
        monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda _: 350)
        found = memory.peak(lambda: told.append("work"), torch.device("cuda", 0))
        assert found == 250
        assert told == ["wait", "reset", "work", "wait"]


class TestTime:
    def test_quartiles(self):
        assert quartiles([3.0]) == (3.0, 3.0, 3.0)
        assert quartiles([4.0, 1.0, 3.0, 2.0]) == (1.75, 2.5, 3.25)

    def test_several_threads_are_timed_by_the_clock(self):
        assert timing.clock_of(CPU, 1) == "CPU time"
        assert timing.clock_of(CPU, 2) == "wall clock"
        assert timing.clock_of(torch.device("cuda"), 1) == "device events"

    @pytest.mark.parametrize("clock", ["CPU time", "wall clock"])
    def test_more_work_takes_longer(self, clock):
        plain, more = contender(1), contender(6)
        own, (times,) = timing.race(field(plain, more), 5, clock, turn=0.02)
        assert len(times.ratios) == len(times.seconds) == 5
        # Six times the work; a busy machine may take its time from either.
        assert 1.5 < statistics.median(times.ratios) < 20
        assert statistics.fmean(own.ratios) == pytest.approx(1, abs=1e-6)

    def test_plain_stands_between_any_two_and_the_order_changes(self):
        told = []
        others = [contender(1, told, name) for name in "abcd"]
        plain = contender(1, told, "plain")
        calls = []
        timing.race(
            field(plain, *others), 3, "wall clock", turn=1e-9, progress=lambda *n: calls.append(n)
        )
        told = told[2 * 5 :]  # after the warm-up
        assert told[::2] == ["plain"] * 15 or told.count("plain") == 15
        rounds = [told[k * 9 : (k + 1) * 9] for k in range(3)]
        assert all(turns[::2] == ["plain"] * 5 for turns in rounds)
        orders = ["".join(turns[1::2]) for turns in rounds]
        assert all(sorted(order) == list("abcd") for order in orders)
        assert len(set(orders)) > 1
        assert calls[-1] == (12, 12)

    def test_a_turn_holds_whole_periods(self):
        told = []
        three = contender(1, told, "three", period=3)
        timing.race(field(contender(1), three), 2, "wall clock", turn=1e-9)
        assert len(told) % 3 == 0


def contender(products, told=None, name="x", period=1):
    w = nn.Parameter(torch.randn(96, 96))
    optimizer = torch.optim.SGD([w], lr=0.0)

    def loss():
        if told is not None:
            told.append(name)
        return sum((w @ w).sum() for _ in range(products))

    return Contender(name, "library", loss, optimizer, period)


def field(plain, *others):
    return Field(nn.Identity(), torch.zeros(1), plain, list(others))
