"""A mistaken argument or input gets one sentence that says what was expected and what came."""

import pytest
import torch

from unshaken import models


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda: models.mlp(10), ValueError, "widths must hold .*got 10"),
        (lambda: models.mlp([10]), ValueError, r"widths must hold .*got \[10\]"),
        (lambda: models.mlp([10, 0, 2]), ValueError, r"widths\[1\] must be an integer >= 1, got 0"),
        (lambda: models.mlp([10, 2.5, 2]), TypeError, r"widths\[1\] must be an integer .*got 2.5"),
        (lambda: models.mlp([9, 2], activation="gelu"), ValueError, "activation .*'relu'.*'gelu'"),
        (lambda: models.mlp([9, 2], dropout=1.5), ValueError, "dropout .*<= 1, got 1.5"),
        (
            lambda: models.conv_tiny(size=(8, 8, 8)),
            ValueError,
            r"\(height, width\), got \(8, 8, 8\)",
        ),
        (lambda: models.conv_tiny(size=28), TypeError, r"size must be \(height, width\) .*got 28"),
        (lambda: models.conv_tiny(size=(8, 0)), ValueError, "each entry of size .*>= 1, got 0"),
        (lambda: models.conv_tiny(dropout=2), ValueError, "dropout .*<= 1, got 2"),
        (
            lambda: models.conv_tiny(size=(8, 6))(torch.ones(1, 1, 6, 8)),
            ValueError,
            "this conv_tiny takes images of 8×6 pixels, got 6×8",
        ),
        (lambda: models.conv_small(channels=0), ValueError, "channels .*>= 1, got 0"),
        (lambda: models.conv_large(classes=0), ValueError, "classes .*>= 1, got 0"),
        (lambda: models.conv_small(dropout=-1), ValueError, "dropout .*got -1"),
        (lambda: models.conv_large(dropout="half"), TypeError, "dropout .*got 'half'"),
        (lambda: models.moons_mlp([[1.0]]), TypeError, "embedding must be .*got list"),
        (
            lambda: models.moons_mlp(torch.ones(2, 100, dtype=torch.int64)),
            TypeError,
            r"embedding must be .*got torch\.int64",
        ),
        (lambda: models.moons_mlp(torch.ones(100)), ValueError, r"embedding .*got \(100,\)"),
    ],
)
def test_a_mistaken_argument(call, error, sentence):
    with pytest.raises(error, match=sentence):
        call()


@pytest.mark.parametrize(("make", "smallest"), [(models.conv_small, 4), (models.conv_large, 12)])
def test_images_that_are_too_small(make, smallest):
    network = make().eval()
    assert network(torch.zeros(1, 3, smallest, smallest + 5)).shape == (1, 10)
    name, least = make.__name__, f"{smallest}×{smallest}"
    with pytest.raises(ValueError, match=f"{name} .* at least {least} .* 40×{smallest - 1}"):
        network(torch.zeros(1, 3, 40, smallest - 1))


@pytest.mark.parametrize("shape", [(2, 1, 32, 32), (3, 32, 32), (2, 3, 32), (2, 3, 8, 8, 8)])
def test_inputs_that_are_no_images_of_these_channels(shape):
    with pytest.raises(ValueError, match=r"conv_small takes images of shape \(N, 3, H, W\), got"):
        models.conv_small()(torch.zeros(shape))
