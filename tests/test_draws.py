"""Random numbers shared over processes: what is drawn does not depend on how many there are."""

import copy
import warnings

import pytest
import torch

from tests import networks
from tests.contracts import CONTRACTS, SHAPES
from unshaken import AlarmWarning, Objective, draws
from unshaken.autograd import RandomState

SHAPE = SHAPES["image"]
CPU = torch.device("cpu")
DRAWING = [name for name, c in CONTRACTS.items() if c.draws and "image" in c.on]


def seeded(seed=7):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("draw", [draws.normal, draws.uniform], ids=["normal", "uniform"])
@pytest.mark.parametrize("processes", [2, 3])
def test_shares_are_the_rows_of_the_whole(draw, processes):
    """And every process leaves its generator where the others do."""
    first = seeded()
    with draws.shared(first):
        whole = draw((6, 2, 3), torch.float64, CPU)
    shares = []
    for rank in range(processes):
        generator = seeded()
        with draws.shared(generator, rank, processes):
            shares.append(draw((6 // processes, 2, 3), torch.float64, CPU))
        assert torch.equal(generator.get_state(), first.get_state())
    assert torch.equal(torch.cat(shares), whole)


def test_common_numbers_are_the_same_in_every_process():
    found = []
    for rank in (0, 1):
        with draws.shared(seeded(), rank, 2):
            found.append(draws.common(3, torch.float64, CPU))
    assert torch.equal(*found)


@pytest.mark.parametrize("draw", [draws.normal, draws.uniform], ids=["normal", "uniform"])
def test_each_group_draws_what_it_would_draw_alone(draw):
    alone = []
    for seed in (1, 2, 3):
        with draws.shared(seeded(seed)):
            alone.append((draw((4, 2), torch.float64, CPU), draws.common(5, torch.float64, CPU)))
    with draws.grouped([seeded(seed) for seed in (1, 2, 3)]):
        assert draws.groups() == 3
        rows, common = draw((12, 2), torch.float64, CPU), draws.common(5, torch.float64, CPU)
    assert draws.groups() == 1
    assert torch.equal(rows, torch.cat([own for own, _ in alone]))
    assert torch.equal(common, torch.cat([own for _, own in alone]))


def test_layers_of_each_group_draw_what_they_would_draw_alone():
    like = torch.empty(3, 5)
    alone = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        alone.append(torch.empty(3, 5).bernoulli_(0.3))
    torch.manual_seed(1)
    assert torch.equal(draws.bernoulli(0.3, like), alone[0])
    drawing = [seeded(8), seeded(9)]
    with draws.grouped(drawing, [seeded(1), seeded(2)]):
        state = RandomState(CPU)
        first = draws.bernoulli(0.3, torch.empty(6, 5))
        noise = draws.normal((2, 3), torch.float32, CPU)
        after = [g.get_state() for g in drawing]
        with state.replayed():
            assert torch.equal(draws.bernoulli(0.3, torch.empty(6, 5)), first)
            assert torch.equal(draws.normal((2, 3), torch.float32, CPU), noise)
        assert all(torch.equal(g.get_state(), a) for g, a in zip(drawing, after, strict=True))
    assert torch.equal(first, torch.cat(alone))


def test_means_and_rows_of_groups():
    values = torch.arange(6.0)
    assert draws.group_means(values) == values.mean()
    with draws.grouped([seeded(), seeded(), seeded()]):
        assert draws.group_means(values).tolist() == [0.5, 2.5, 4.5]
    assert draws.to_rows(torch.tensor([[1, 2], [3, 4]]), 4).tolist() == [[1, 2]] * 2 + [[3, 4]] * 2


def test_outside_they_come_from_the_global_generator():
    torch.manual_seed(3)
    found = [draws.normal((2, 3), torch.float32, CPU), draws.uniform((2, 3), torch.float32, CPU)]
    torch.manual_seed(3)
    assert torch.equal(found[0], torch.randn(2, 3))
    assert torch.equal(found[1], torch.rand(2, 3))
    assert draws.generator() is None


def test_the_block_ends_after_an_error():
    with pytest.raises(RuntimeError, match="inside"), draws.shared(seeded()):
        raise RuntimeError("inside")
    assert draws.generator() is None


# REINFORCE takes the other examples of its share of the batch for its baseline.
@pytest.mark.parametrize("name", [name for name in DRAWING if name != "xvat-reinforce"])
def test_halves_of_a_batch_give_the_gradient_of_the_whole(name, monkeypatch):
    # What is learned is not looked at: there is no second process to ask for its rows.
    monkeypatch.setattr(draws, "gatherer", lambda: lambda rows: rows)
    model = networks.convolutional(2, 2).double()
    x, y = networks.batch(SHAPE, count=6)
    made = Objective(model, CONTRACTS[name].make(SHAPE).double())

    def slopes(rows, rank, processes):
        objective = copy.deepcopy(made)
        before = torch.get_rng_state()
        with draws.shared(seeded(), rank, processes):
            loss = objective(x[rows], y[rows], index=torch.arange(6)[rows])
        assert torch.equal(torch.get_rng_state(), before)
        return torch.autograd.grad(loss, list(objective.parameters()))

    whole = slopes(slice(0, 6), 0, 1)
    halves = [slopes(slice(3 * rank, 3 * rank + 3), rank, 2) for rank in (0, 1)]
    mean = [(a + b) / 2 for a, b in zip(*halves, strict=True)]
    # A finite difference takes its step from its own share of the batch.
    by_difference = name.startswith(("vat-difference", "vat-reverse", "mvat", "relative"))
    networks.assert_same(mean, list(whole), 1e-7 if by_difference else 1e-12)


@pytest.mark.parametrize("alarm", [True, False])
def test_probes_of_the_alarm_leave_the_shared_generator_alone(alarm):
    torch.manual_seed(0)
    objective = Objective(
        networks.convolutional(2, 2), CONTRACTS["vat-difference"].make(SHAPE), alarm=alarm
    )
    generator = seeded()
    with draws.shared(generator), warnings.catch_warnings():
        warnings.simplefilter("ignore", AlarmWarning)
        for _ in range(20):
            objective(*networks.batch(SHAPE, dtype=torch.float32))
    expected = seeded()
    for _ in range(20):
        torch.randn((4, *SHAPE), generator=expected)
    assert torch.equal(generator.get_state(), expected.get_state())
