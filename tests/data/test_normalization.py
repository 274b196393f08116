"""Normalizations: their formulas, their statistics as files, what they refuse."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.data import files
from unshaken.data import (
    DataError,
    Standardization,
    Whitening,
    load,
    read_normalization,
    write_arrays,
)


def correlated(count: int = 400, shape: tuple[int, ...] = (2, 3, 3)) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    width = int(np.prod(shape))
    mix = torch.randn(width, width, generator=generator)
    return (torch.randn(count, width, generator=generator) @ mix + 3).view(count, *shape)


def test_named_normalizations_of_pixels(tmp_path: Path) -> None:
    path = tmp_path / "own.npz"
    content = files.arrays(x_train=files.pixels(200, 3, 2, 2), y_train=np.arange(200) % 2)
    write_arrays(path, **{**content, "x_test": files.pixels(4, 3, 2, 2)})
    pixels = torch.from_numpy(content["x_train"]).float()
    torch.testing.assert_close(load(str(path), normalize="none").x_train, pixels)
    torch.testing.assert_close(load(str(path), normalize="unit").x_train, pixels / 255)
    torch.testing.assert_close(load(str(path)).x_train, pixels / 255 - 0.5)

    standard = load(str(path), normalize="standard")
    torch.testing.assert_close(standard.x_train.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    deviation = standard.x_train.std((0, 2, 3), correction=0)
    torch.testing.assert_close(deviation, torch.ones(3), atol=1e-5, rtol=0)

    zca = load(str(path), normalize="zca")
    flat = zca.x_train.flatten(1)
    covariance = flat.T @ flat / len(flat)
    torch.testing.assert_close(covariance, torch.eye(12), atol=1e-3, rtol=0)
    for data in (standard, zca):
        assert data.normalization is not None
        torch.testing.assert_close(
            data.normalization.invert(data.x_train), pixels / 255, atol=1e-4, rtol=0
        )
        again = load(str(path), normalize="unit")
        torch.testing.assert_close(data.normalization.apply(again.x_test), data.x_test)


@pytest.mark.parametrize("regularizer", ["inside", "outside"])
def test_whitening_is_its_formula(regularizer: str) -> None:
    x, epsilon = correlated(), 0.3
    fitted = Whitening.fit(x, epsilon=epsilon, regularizer=regularizer)
    flat = x.flatten(1).double()
    centered = flat - flat.mean(0)
    values, vectors = torch.linalg.eigh(centered.T @ centered / len(x))
    scale = (values + epsilon) ** -0.5 if regularizer == "inside" else values**-0.5 + epsilon
    expected = centered @ (vectors @ torch.diag(scale) @ vectors.T)
    torch.testing.assert_close(fitted.apply(x).flatten(1).double(), expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(fitted.invert(fitted.apply(x)), x, atol=1e-4, rtol=1e-4)


def test_statistics_are_those_of_numpy_in_pieces() -> None:
    x = correlated(9000, (2, 3))
    fitted = Standardization.fit(x)
    torch.testing.assert_close(fitted.mean, x.mean((0, 2)))
    torch.testing.assert_close(fitted.std, x.std((0, 2), correction=0))


@pytest.mark.parametrize("kind", [Standardization, Whitening])
def test_save_and_read(kind: type[Standardization] | type[Whitening], tmp_path: Path) -> None:
    x = correlated()
    fitted = kind.fit(x)
    fitted.save(tmp_path / "statistics.safetensors")
    again = kind.read(tmp_path / "statistics.safetensors")
    assert torch.equal(again.apply(x), fitted.apply(x))
    other = Whitening if kind is Standardization else Standardization
    with pytest.raises(DataError, match=r"statistics.safetensors: expected a .* got unshaken"):
        other.read(tmp_path / "statistics.safetensors")
    content = (tmp_path / "statistics.safetensors").read_bytes()
    (tmp_path / "cut").write_bytes(content[:-9])
    with pytest.raises(DataError, match="cut: expected a safetensors file"):
        kind.read(tmp_path / "cut")
    with pytest.raises(DataError, match="no such file"):
        kind.read(tmp_path / "absent")


def test_what_they_refuse(tmp_path: Path) -> None:
    x = correlated()
    with pytest.raises(ValueError, match="regularizer: expected 'inside' or 'outside', got 'on'"):
        Whitening.fit(x, regularizer="on")
    with pytest.raises(ValueError, match="epsilon: expected a number >= 0, got -1"):
        Whitening.fit(x, epsilon=-1)
    flat = torch.cat([x.flatten(1), x.flatten(1)], 1)
    with pytest.raises(DataError, match="covariance of full rank"):
        Whitening.fit(flat, regularizer="outside")
    assert Whitening.fit(flat, epsilon=1e-2).apply(flat).isfinite().all()
    with pytest.raises(DataError, match="expected examples of 18 values"):
        Whitening.fit(x).apply(x[:, :1])
    with pytest.raises(DataError, match="expected 2 channels"):
        Standardization.fit(x).apply(x[:, :1])
    x[:, 1] = 0.1
    with pytest.raises(DataError, match=r"channels that vary, got constant channels \[1\]"):
        Standardization.fit(x)
    with pytest.raises(DataError, match="positive finite stds"):
        Standardization(torch.zeros(2), torch.zeros(2))
    path = files.write_npz(
        tmp_path / "own.npz", x_train=np.ones((8, 2)) * 3, x_test=np.ones((4, 2))
    )
    with pytest.raises(DataError, match=r"own.npz: x_train: normalize='unit' .* got 3 .. 3"):
        load(str(path), normalize="unit")
    with pytest.raises(DataError, match=r"own.npz: normalize='standard'"):
        load(str(path), normalize="standard")


@pytest.mark.parametrize("kind", ["standard", "zca"])
def test_a_flipped_bit_of_the_statistics_is_noticed(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "kept.safetensors"
    fitted = Standardization if kind == "standard" else Whitening
    fitted.fit(correlated()).save(path)
    whole = path.read_bytes()
    assert type(read_normalization(path)) is fitted
    for place in (60, len(whole) // 2, len(whole) - 2):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        with pytest.raises(DataError):
            read_normalization(path)
