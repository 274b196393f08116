"""VAT against the dense Hessian, and its two ways to find the direction against each other."""

import pytest
import torch

from tests import naive, networks, references
from unshaken import VAT, models

DIRECTIONS = ["difference", "exact"]


def found_direction(model, x, **settings):
    return VAT(1.0, **settings).worst(model, x).parameters


def assert_along(found, expected, least):
    """The same axis: the sign of an eigenvector is open."""
    assert float(networks.cosine(found, expected).abs().min()) >= least


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("divergence", ["kl", "reverse-kl"])
def test_many_steps_reach_the_top_eigenvector_of_a_softmax_model(direction, divergence):
    """H = Wᵀ(diag p − p pᵀ)W for each example, by hand and by a dense Hessian."""
    weight = torch.randn(4, 6, dtype=torch.float64)
    model = networks.Linear(weight)
    x, _ = networks.batch((6,), count=5)
    found = found_direction(model, x, steps=200, direction=direction, divergence=divergence)
    kind = "kl" if divergence == "kl" else "reverse"
    for i in range(5):
        p = model(x[i : i + 1]).detach()[0].softmax(0)
        by_hand = weight.T @ (p.diag() - p.outer(p)) @ weight
        hessian = references.input_hessian(model, x[i : i + 1], kind)
        torch.testing.assert_close(hessian, by_hand, rtol=1e-8, atol=1e-10)
        _, top = references.top_eigenvector(hessian)
        assert_along(found[i : i + 1], top[None], 1 - 1e-6)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_many_steps_reach_the_top_eigenvector_of_a_network(direction):
    model = networks.mlp((6,)).double()
    x, _ = networks.batch((6,), count=3)
    found = found_direction(model, x, steps=200, direction=direction)
    for i in range(3):
        _, top = references.top_eigenvector(references.input_hessian(model, x[i : i + 1]))
        assert_along(found[i : i + 1], top[None], 1 - 1e-5)


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_exact_equals_naive_hessian_vector_products(training, steps):
    model = networks.normalized((2, 3, 4)).double()
    x, _ = networks.batch((2, 3, 4), count=6)
    model(x)
    model.train(training)
    torch.manual_seed(4)
    found = VAT(0.5, steps=steps, direction="exact")(model, x)
    torch.manual_seed(4)
    expected = naive.vat(model, x, torch.randn_like(x), 0.5, steps)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=0)
    networks.assert_same(
        networks.gradients(found, model), networks.gradients(expected, model), 1e-10
    )


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_difference_is_exact_in_double_precision(training):
    model = networks.normalized((2, 3, 4)).double()
    x, _ = networks.batch((2, 3, 4), count=6)
    model(x)
    model.train(training)
    directions = []
    for direction in DIRECTIONS:
        torch.manual_seed(4)
        directions.append(found_direction(model, x, direction=direction))
    assert float(networks.cosine(*directions).min()) > 1 - 1e-8


INPUTS = {
    "standard normal": lambda: torch.randn(8, 3, 32, 32),
    "unit interval": lambda: torch.rand(8, 3, 32, 32),
}


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("kind", INPUTS)
def test_difference_equals_exact_on_conv_small_in_single_precision(kind, training):
    model = models.conv_small()
    x = INPUTS[kind]()
    with torch.no_grad():
        for _ in range(3):
            model(x)
    model.train(training)
    directions = []
    for direction in DIRECTIONS:
        torch.manual_seed(4)
        directions.append(found_direction(model, x, direction=direction))
    # Single examples lose a little more where the step crosses kinks.
    each = networks.cosine(*directions)
    assert float(each.mean()) >= 0.999
    assert float(each.min()) >= 0.99


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("radius", [0.01, 2.0])
def test_the_noise_has_the_radius(radius, direction):
    model = networks.mlp((6,))
    x, _ = networks.batch((6,), dtype=torch.float32)
    worst = VAT(radius, direction=direction).worst(model, x)
    torch.testing.assert_close(worst.parameters.norm(dim=1), torch.full((4,), radius))
    torch.testing.assert_close(worst.perturbed, x + worst.parameters)


def test_it_finds_more_than_random_directions():
    model = networks.mlp((6,)).double()
    x, _ = networks.batch((6,))
    worst = VAT(0.1, steps=5).worst(model, x).value
    for _ in range(20):
        other = 0.1 * torch.nn.functional.normalize(torch.randn_like(x))
        random = torch.stack(
            [
                references.divergence("kl", model(x)[i], model(x + other)[i]).detach()
                for i in range(4)
            ]
        )
        assert bool((random <= worst * (1 + 1e-3)).all())


def test_reverse_is_the_other_direction_of_the_same_pair():
    model = networks.mlp((6,)).double()
    x, _ = networks.batch((6,))
    values = {}
    for divergence in ("kl", "reverse-kl"):
        torch.manual_seed(4)
        worst = VAT(1.0, divergence=divergence, direction="exact").worst(model, x)
        kind = "kl" if divergence == "kl" else "reverse"
        each = zip(model(x), model(worst.perturbed), strict=True)
        expected = torch.stack([references.divergence(kind, p, q) for p, q in each])
        torch.testing.assert_close(worst.value, expected.detach())
        values[divergence] = worst.value
    assert not torch.allclose(values["kl"], values["reverse-kl"], rtol=1e-3)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_dropout_draws_the_same_masks_for_the_direction(direction):
    """With dropout the direction is that of the network that the clean pass thinned."""
    torch.manual_seed(0)
    model = networks.normalized((6,), dropout=0.5, width=32).double().train()
    model[2].eval()
    x, _ = networks.batch((6,), count=6)
    worst = VAT(1e-3, steps=60, direction=direction).worst(model, x)
    # KL ~ radius²/2 of the top curvature where the masks agree, and of order 1 where they do not.
    assert float(worst.value.max()) < 1e-4


@pytest.mark.parametrize(
    ("settings", "error", "sentence"),
    [
        ({"radius": -1.0}, ValueError, r"radius must be a finite number >= 0, got -1\.0"),
        ({"radius": 1.0, "steps": 0}, ValueError, r"steps must be an integer >= 1, got 0"),
        ({"radius": 1.0, "steps": True}, TypeError, r"steps must be an integer >= 1, got True"),
        ({"radius": 1.0, "direction": "up"}, ValueError, r"direction.*'difference'.*got 'up'"),
        ({"radius": 1.0, "divergence": "js"}, ValueError, r"divergence.*'reverse-kl'.*got 'js'"),
    ],
)
def test_bad_settings_are_named(settings, error, sentence):
    with pytest.raises(error, match=sentence):
        VAT(**settings)
