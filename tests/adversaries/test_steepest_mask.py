"""The steepest mask: its budget, the right entries, blocks, and steps that never lose."""

import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests import networks
from unshaken import XAT, XVAT, Objective, Random, masks
from unshaken.divergences import KL
from unshaken.perturbations import Mask


@pytest.mark.parametrize("keep", [1.0, 0.85, 0.5, 0.25])
@pytest.mark.parametrize("make", [XAT, XVAT], ids=["xat", "xvat"])
def test_steepest_keeps_exactly_the_budget(make, keep):
    model = networks.convolutional(3, 2).double()
    x, y = networks.batch((3, 4, 5), count=6)
    mask = make(masks.Steepest(keep)).worst(model, x, y).mask
    assert set(mask.unique().tolist()) <= {0.0, 1.0}
    assert mask.flatten(1).sum(1).tolist() == [round(20 * keep)] * 6


def test_steepest_erases_the_right_entries_of_a_linear_model():
    """−log p_y grows by −g_j x_j when entry j goes; g = Wᵀ(p − e_y)."""
    weight = torch.randn(3, 10, dtype=torch.float64)
    model = networks.Linear(weight)
    x, y = networks.batch((10,), count=8)
    mask = XAT(masks.Steepest(0.7)).worst(model, x, y).mask
    g = ((x @ weight.T).softmax(1) - torch.eye(3, dtype=torch.float64)[y]) @ weight
    expected = torch.ones_like(x)
    for i in range(8):
        order = sorted(range(10), key=lambda j: float(-g[i, j] * x[i, j]), reverse=True)
        expected[i, order[:3]] = 0
    assert torch.equal(mask, expected)


def test_steepest_is_the_worst_of_all_masks_where_the_model_is_linear():
    """For a small linear model the first-order choice is the best of every pair of entries."""
    weight = torch.randn(3, 6, dtype=torch.float64)
    model = networks.Linear(weight * 1e-3)
    x, y = networks.batch((6,), count=8)
    worst = XAT(masks.Steepest(4 / 6)).worst(model, x, y)
    for pair in torch.combinations(torch.arange(6)):
        mask = torch.ones_like(x)
        mask[:, pair] = 0
        value = F.cross_entropy(model(x * mask), y, reduction="none").detach()
        assert bool((value <= worst.value + 1e-9).all())


def test_label_free_steepest_beats_random_masks():
    model = networks.convolutional(3, 2).double()
    x, _ = networks.batch((3, 6, 6), count=32)
    steepest = XVAT(masks.Steepest(0.7)).worst(model, x).value.mean()
    mask = Mask()
    with torch.no_grad():
        random = []
        for _ in range(10):
            outputs = model(mask(x, mask.random(x, 0.3)))
            random.append(float(KL()(outputs, KL().target(model(x), None)).mean()))
    assert float(steepest) > max(random)


class LinearLogits(nn.Module):
    """Outputs linear in the input: the KL is convex in the mask."""

    def __init__(self, features, outputs=5):
        super().__init__()
        self.linear = nn.Linear(features, outputs, bias=False)

    def forward(self, x):
        return self.linear(x.flatten(1))


def test_steps_never_lower_the_divergence_where_it_is_convex():
    torch.manual_seed(3)
    model = LinearLogits(24).double()
    x, _ = networks.batch((1, 4, 6), count=64)
    values = []
    for steps in (1, 2, 4):
        torch.manual_seed(0)
        values.append(XVAT(masks.Steepest(0.7, steps)).worst(model, x).value)
    assert bool((values[1] >= values[0] - 1e-12).all())
    assert bool((values[2] >= values[1] - 1e-12).all())
    assert bool((values[1] > values[0] + 1e-6).any())


def test_steps_come_near_the_worst_of_all_masks():
    """Four of eight entries: 70 masks, all tried."""
    torch.manual_seed(1)
    model = LinearLogits(8).double()
    x, _ = networks.batch((8,), count=32)
    found = XVAT(masks.Steepest(0.5, 4)).worst(model, x).value.mean()
    target = KL().target(model(x), None)
    values = []
    with torch.no_grad():
        for erased in itertools.combinations(range(8), 4):
            mask = torch.ones_like(x)
            mask[:, erased] = 0
            values.append(KL()(model(x * mask), target))
    every = torch.stack(values)
    assert float(every.mean()) < 0.6 * float(found) <= 0.6 * float(every.amax(0).mean()) + 1e-12


@pytest.mark.parametrize("make", [XAT, XVAT], ids=["xat", "xvat"])
def test_blocks_are_erased_whole_and_by_the_sum_of_their_gains(make):
    model = networks.convolutional(2, 2).double()
    x, y = networks.batch((2, 5, 7), count=6)
    mask = make(masks.Steepest(0.5), block=2).worst(model, x, y).mask
    blocks = F.pad(mask, (0, 1, 0, 1), value=-1).unflatten(3, (4, 2)).unflatten(2, (3, 2))
    for block in blocks.transpose(3, 4).flatten(4).reshape(-1, 4):
        assert len(block[block >= 0].unique()) == 1
    assert mask[:, :, ::2, ::2].flatten(1).sum(1).tolist() == [6] * 6


def test_the_best_block_of_a_linear_model():
    weight = torch.randn(3, 16, dtype=torch.float64)
    model = nn.Sequential(nn.Flatten(), networks.Linear(weight))
    x, y = networks.batch((1, 4, 4), count=8)
    mask = XAT(masks.Steepest(0.75), block=2).worst(model, x, y).mask
    p = (x.flatten(1) @ weight.T).softmax(1)
    gain = -((p - torch.eye(3, dtype=p.dtype)[y]) @ weight).reshape(x.shape) * x
    best = F.avg_pool2d(gain, 2).flatten(1).argmax(1)
    erased = F.avg_pool2d(1 - mask, 2).flatten(1).argmax(1)
    assert torch.equal(best, erased)
    assert mask.flatten(1).sum(1).tolist() == [12.0] * 8


def test_a_steepest_mask_gains_over_random_masks_of_the_same_blocks_in_training():
    torch.manual_seed(0)
    term = XVAT(masks.Steepest(0.7), block=2, name="steepest")
    objective = Objective(networks.convolutional(2, 2), term, Random(Mask(block=2), 0.3))
    x, y = networks.batch((2, 6, 6), count=32, dtype=torch.float32)
    for _ in range(64):
        objective(x, y).backward()
    reached = objective.alarm.reached
    assert set(reached) == {"steepest"}
    assert reached["steepest"].adversary > 1.2 * reached["steepest"].random > 0
    assert reached["steepest"].examples == 8 * 32


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: masks.Steepest(0.5, steps=0), "steps"),
        (lambda: Mask(block=0), "block"),
        (lambda: XVAT(masks.Generator(2), block=2), "block must be 1"),
        (lambda: XVAT(masks.Steepest(0.5), block=2)(LinearLogits(6), torch.randn(3, 6)), "block=2"),
    ],
)
def test_mistakes_are_named(wrong, says):
    with pytest.raises(ValueError, match=says):
        wrong()
