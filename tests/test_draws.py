"""Random numbers shared over processes: what is drawn does not depend on how many there are."""

import warnings

import pytest
import torch

from tests import networks
from tests.contracts import CONTRACTS, SHAPES
from unshaken import AlarmWarning, Objective, draws

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


@pytest.mark.parametrize("name", DRAWING)
def test_halves_of_a_batch_give_the_gradient_of_the_whole(name):
    model = networks.convolutional(2, 2).double()
    x, y = networks.batch(SHAPE, count=6)
    objective = Objective(model, CONTRACTS[name].make(SHAPE).double())
    parameters = list(objective.parameters())

    def slopes(rows, rank, processes):
        before = torch.get_rng_state()
        with draws.shared(seeded(), rank, processes):
            loss = objective(x[rows], y[rows], index=torch.arange(6)[rows])
        assert torch.equal(torch.get_rng_state(), before)
        return torch.autograd.grad(loss, parameters)

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
