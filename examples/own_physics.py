"""Fields of one's own physics: pitch and tempo of sound, and the light of an image.

A movement field is a basis on the lattice of the input. On a spectrogram (frequency on a log scale
× time) another pitch is a shift along the first axis and another tempo a stretch along the second.
A change of intensity is a list of directions in which values may change.
"""

import torch

import unshaken
from unshaken import fields
from unshaken.adversaries import PowerIteration, SteepestStep
from unshaken.divergences import KL, CrossEntropy
from unshaken.perturbations import Intensity


class Pitch(fields.Field):
    def basis(self, size):  # (1, 2, frequencies, times): all frequencies by one step
        return torch.stack([torch.ones(size), torch.zeros(size)]).unsqueeze(0)


class Tempo(fields.Field):
    def basis(self, size):  # away from the middle, in proportion to the distance in time
        time = fields.centered(size)[1]
        return torch.stack([torch.zeros_like(time), time / time.abs().max()]).unsqueeze(0)


class Light(Intensity):
    def changes(self, x):  # brightness, contrast, and light from the left
        left = torch.linspace(1, -1, x.shape[-1], device=x.device).expand_as(x)
        return torch.stack([torch.ones_like(x), x - x.mean((1, 2, 3), keepdim=True), left], 1)


def spectrograms(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Chirps ``(N, 1, 24, 32)`` whose pitch rises (1) or falls (0), at any pitch and tempo."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(2, (count,), generator=generator)
    start, slope, noise = (torch.rand(count, 1, 1, generator=generator) for _ in range(3))
    frequency = torch.arange(24).reshape(1, 24, 1)
    time = torch.arange(32).reshape(1, 1, 32) - 15.5
    line = 8 + 8 * start + (2 * y.reshape(-1, 1, 1) - 1) * (0.1 + 0.2 * slope) * time
    x = torch.exp(-(frequency - line).square() / 2)
    x = x + (0.2 + 0.4 * noise) * torch.randn(x.shape, generator=generator)
    return x.unsqueeze(1), y


def main(steps: int = 150) -> dict[str, float]:
    torch.manual_seed(0)
    x, y = spectrograms(60, 0)
    model = unshaken.models.mlp([24 * 32, 64, 2])
    tune = unshaken.MAT(Pitch(), Tempo(), radius=1.0)
    light = unshaken.Regularizer(Light(), PowerIteration(radius=0.3), KL(), name="light")
    objective = unshaken.Objective(model, tune, light)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        objective(x, y).backward()
        optimizer.step()

    test, labels = spectrograms(300, 1)
    model.eval()
    with torch.no_grad():
        wrong = model(test).argmax(1) != labels
    pitch, tempo = (
        unshaken.VMT(field).worst(model, test, labels).value.mean().item()
        for field in (Pitch(), Tempo())
    )
    brighter = unshaken.Regularizer(Light(), SteepestStep(radius=0.3), CrossEntropy())
    return {
        "test error %": 100 * wrong.float().mean().item(),
        "rate of the loss by pitch": pitch,
        "rate of the loss by tempo": tempo,
        "loss under the worst light": brighter(model, test, labels).item(),
    }


if __name__ == "__main__":
    for name, value in main().items():
        print(f"{name}: {value:.4g}")
