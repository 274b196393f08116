"""Augmentation: each example is a whole translation and flip of itself."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from unshaken.data import augment


def candidates(x: Tensor, shift: int, flip: bool, padding: str) -> list[Tensor]:
    """Every picture that one example (C, H, W) may become, by cutting windows."""
    mode = "constant" if padding == "zeros" else "replicate"
    found = []
    for image in (x, x.flip(-1)) if flip else (x,):
        padded = F.pad(image[None], [shift] * 4, mode=mode)[0]
        for i in range(2 * shift + 1):
            for j in range(2 * shift + 1):
                found.append(padded[:, i : i + x.shape[1], j : j + x.shape[2]])
    return found


@pytest.mark.parametrize("padding", ["zeros", "edge"])
@pytest.mark.parametrize("flip", [True, False])
def test_each_image_is_moved_by_whole_pixels(padding: str, flip: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(60, 3, 5, 7, generator=generator)
    moved = augment(x, 2, flip, generator, padding=padding)
    seen = set()
    for before, after in zip(x, moved, strict=True):
        hits = [torch.equal(after, c) for c in candidates(before, 2, flip, padding)]
        assert sum(hits) == 1
        seen.add(hits.index(True))
    assert len(seen) > 20


def test_every_move_is_equally_likely() -> None:
    x = torch.zeros(20_000, 1, 5)
    x[:, 0, 2] = 1
    position = augment(x, 2, False, torch.Generator().manual_seed(0))[:, 0].argmax(1)
    assert (position.bincount(minlength=5) / 20_000 - 0.2).abs().max() < 0.015
    ramp = torch.arange(5.0).expand(20_000, 1, 5)
    flipped = augment(ramp, 0, True, torch.Generator().manual_seed(1))[:, 0, 0] == 4
    assert flipped.float().mean().item() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("size", [(9,), (4, 5), (3, 4, 5)])
def test_any_number_of_axes(size: tuple[int, ...]) -> None:
    x = torch.randn(6, 2, *size)
    before = torch.random.get_rng_state()
    one = augment(x, 1, generator=torch.Generator().manual_seed(3))
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.equal(one, augment(x, 1, generator=torch.Generator().manual_seed(3)))
    assert one.shape == x.shape
    assert torch.equal(augment(x, 0, False), x)


@pytest.mark.parametrize(
    ("x", "shift", "padding", "message"),
    [
        (torch.zeros(4, 5), 2, "zeros", r"x: expected a batch"),
        (torch.zeros(4, 1, 5), -1, "zeros", r"shift: expected"),
        (torch.zeros(4, 1, 5), 1, "wrap", r"padding: expected"),
    ],
)
def test_errors(x: Tensor, shift: int, padding: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        augment(x, shift, padding=padding)
