"""How the divergence's gradient reaches a mask player, beside the model's own."""

import pytest
import torch

from tests import networks
from unshaken import XAT, XVAT, masks
from unshaken.adversaries.learned import ESTIMATORS
from unshaken.divergences import CrossEntropy
from unshaken.estimators import exact

SIZE = 5


def setting(count):
    """A table with the same masks' odds for every example, and one example many times."""
    torch.manual_seed(0)
    model = networks.Linear(3 * torch.randn(3, SIZE, dtype=torch.float64))
    x = torch.randn(1, SIZE, dtype=torch.float64).expand(count, SIZE)
    y = torch.ones(count, dtype=torch.long)
    return model, x, y, torch.randn(SIZE, dtype=torch.float64)


def gradients(estimator, count=100_000):
    """The gradient that a row of the table gets, for each of many draws; and the exact one."""
    model, x, y, log_alpha = setting(count)
    table = masks.Table(count, (SIZE,), estimator=estimator).double()
    with torch.no_grad():
        table.table.copy_(log_alpha.expand(count, SIZE))
    term = XAT(table, sparsity=0.0, weight=1.0)
    (term(model, x, y, index=torch.arange(count)) * count).backward()

    def divergence(z):
        return CrossEntropy()(model(x[:1] * z), y[:1])

    return table.table.grad, exact(divergence, log_alpha.unsqueeze(0))[0]


def test_reinforce_feels_the_price_of_roughness():
    """Its gradient of ``E[smoothness · mean |∇z|]`` is the exact one."""
    model, x, y, log_alpha = setting(100_000)
    found = []
    for smoothness in (0.0, 3.0):
        table = masks.Table(len(x), (SIZE,), estimator="reinforce").double()
        with torch.no_grad():
            table.table.copy_(log_alpha.expand(len(x), SIZE))
        torch.manual_seed(1)
        term = XAT(table, sparsity=0.0, smoothness=smoothness, weight=1.0)
        (term(model, x, y, index=torch.arange(len(x))) * len(x)).backward()
        found.append(-table.table.grad)
    gap = found[0] - found[1]
    expected = exact(lambda z: 3.0 * z.diff(dim=1).abs().mean(1), log_alpha.unsqueeze(0))[0]
    error = gap.std(0) / len(gap) ** 0.5
    assert bool(((gap.mean(0) - expected).abs() < 5 * error).all())
    assert float(5 * error.norm()) < 0.2 * float(expected.norm())


def test_reinforce_ascends_the_exact_gradient():
    found, expected = gradients("reinforce")
    mean, error = -found.mean(0), found.std(0) / len(found) ** 0.5
    assert bool(((mean - expected).abs() < 5 * error).all())
    assert float(5 * error.norm()) < 0.1 * float(expected.norm())


@pytest.mark.parametrize("estimator", [e for e in ESTIMATORS if e != "reinforce"])
def test_the_others_ascend_but_not_exactly(estimator):
    found, expected = gradients(estimator)
    mean, error = -found.mean(0), found.std(0) / len(found) ** 0.5
    assert float(torch.nn.functional.cosine_similarity(mean, expected, 0)) > 0.7
    assert float(((mean - expected).abs() / error).max()) > 10


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_the_value_is_the_divergence_and_the_model_gets_its_gradient(estimator):
    model = networks.convolutional(2, 2).double()
    x, y = networks.batch((2, 5, 7), count=6)
    player = masks.Generator(2, estimator=estimator).double()
    term = XAT(player, weight=1.0)
    torch.manual_seed(4)
    worst = term.worst(model, x, y)
    torch.manual_seed(4)
    value = term(model, x, y)
    value.backward()
    outputs = model(worst.perturbed.detach())
    by_hand = CrossEntropy()(outputs, y).mean()
    torch.testing.assert_close(value, by_hand)
    expected = torch.autograd.grad(by_hand, list(model.parameters()))
    for p, g in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(p.grad, g)
    binary = set(worst.mask.unique().tolist()) <= {0.0, 1.0}
    assert binary == (estimator in ("straight-through", "reinforce"))


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_the_player_learns_to_raise_the_divergence(estimator):
    """Against a fixed network, with no price on what it keeps."""
    torch.manual_seed(0)
    model = networks.Linear(3 * torch.randn(3, SIZE))
    x = torch.randn(64, SIZE)
    term = XVAT(masks.Table(64, (SIZE,), estimator=estimator), sparsity=0.0)
    optimizer = torch.optim.Adam(term.parameters(), lr=0.1)
    index, values = torch.arange(64), []
    for _ in range(150):
        value = term(model, x, index=index)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(float(value.detach()))
    assert sum(values[-20:]) > 1.5 * sum(values[:20])


def test_an_unknown_estimator_is_named():
    with pytest.raises(ValueError, match="estimator"):
        masks.Generator(2, estimator="rebar")
