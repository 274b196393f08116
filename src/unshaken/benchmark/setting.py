"""What a step is measured on: a network, its batch and its optimizer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, Optimizer

from unshaken import checks, models
from unshaken.methods.catalog import Shape

PRECISIONS = ("32", "64", "bf16")

Groups = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Setting:
    """A network with inputs of one shape.

    Attributes:
        name: what reports call it.
        network: a name of :data:`unshaken.models.NAMES`, or an import path.
        channels: channels of an example; all its numbers where ``size`` is empty.
        size: its spatial sizes.
        classes: number of classes.
        batch_size: examples in a step.
        optimizer: ``"adam"`` or ``"sgd"`` (momentum 0.9), both fused; ``"sgd-plain"`` (no momentum)
            takes sparse gradients too.
        widths: hidden units of ``mlp``.
        examples: rows of a mask table; a dense one costs more the more it has (see the scaling).
        device: where it runs.
        precision: ``"32"`` or ``"64"`` in all arithmetic, ``"bf16"`` under autocast.
        threads: threads of PyTorch.
    """

    name: str
    network: str
    channels: int = 3
    size: tuple[int, ...] = (32, 32)
    classes: int = 10
    batch_size: int = 32
    optimizer: str = "sgd"
    widths: tuple[int, ...] | None = None
    examples: int = 1000
    device: str = "cpu"
    precision: str = "32"
    threads: int = 1

    @property
    def place(self) -> torch.device:
        """The device itself."""
        return torch.device(self.device)

    @property
    def dtype(self) -> torch.dtype:
        """The type of weights and inputs."""
        return torch.float64 if self.precision == "64" else torch.float32

    @property
    def shape(self) -> Shape:
        """What a method must know of the data."""
        return Shape(self.channels, self.size, self.examples, self.classes)

    def build(self, dropout: float | None = None) -> nn.Module:
        """The network in training mode; the same first weights in every call.

        Args:
            dropout: the method dropout's probability; None for the network's own.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = models.build(
                self.network,
                channels=self.channels,
                size=self.size,
                classes=self.classes,
                widths=self.widths,
                dropout=dropout,
            )
        return network.to(self.device, self.dtype).train()

    def batch(self) -> tuple[Tensor, Tensor, Tensor]:
        """Normal inputs, labels and indices: ``(N, channels, *size)``, ``(N,)``, ``(N,)``."""
        generator = torch.Generator().manual_seed(0)
        count = self.batch_size
        x = torch.randn(count, self.channels, *self.size, generator=generator, dtype=self.dtype)
        y = torch.randint(self.classes, (count,), generator=generator)
        index = torch.arange(count) % self.examples
        return x.to(self.device), y.to(self.device), index.to(self.device)

    def optimizer_of(self, groups: Groups) -> Optimizer:
        """The optimizer over groups that know their learning rates."""
        if self.optimizer == "adam":
            return Adam([dict(group) for group in groups], fused=True)
        if self.optimizer == "sgd-plain":
            return SGD([dict(group) for group in groups])
        return SGD([dict(group) for group in groups], momentum=0.9, fused=True)

    def loss(self, compute: Callable[[], Tensor]) -> Tensor:
        """What ``compute`` returns, under autocast where the precision asks for it."""
        if self.precision == "bf16":
            with torch.autocast(self.place.type, torch.bfloat16):
                return compute()
        return compute()


PRESETS: Mapping[str, Setting] = {
    setting.name: setting
    for setting in (
        Setting("conv_small", "conv_small"),
        Setting("conv_large", "conv_large", batch_size=8, optimizer="adam"),
        Setting(
            "mnist_mlp",
            "mlp",
            channels=1,
            size=(28, 28),
            batch_size=100,
            optimizer="adam",
            widths=(1200, 600, 300, 150),
        ),
        Setting(
            "sinusoids_mlp",
            "mlp",
            channels=1,
            size=(100,),
            classes=2,
            batch_size=20,
            optimizer="adam",
            widths=(128, 128),
        ),
        Setting("moons_mlp", "moons_mlp", channels=100, size=(), classes=2, batch_size=16),
    )
}
"""The papers' networks with batches that one core computes in about a second or less."""


def setting_of(
    model: str,
    *,
    batch_size: int | None = None,
    channels: int | None = None,
    size: tuple[int, ...] | None = None,
    classes: int | None = None,
    precision: str = "32",
    threads: int = 1,
    device: str = "cpu",
) -> Setting:
    """A preset, or any other network on images of 3×32×32, with what was given instead.

    A ``size`` of one number holds for every spatial axis of a preset, and for two axes of another
    network.

    Raises:
        ValueError, TypeError: a number is out of range, or the network does not suit the inputs.
    """
    found = PRESETS.get(model, Setting(model, model))
    given = {"batch_size": batch_size, "channels": channels, "classes": classes}
    changes: dict[str, Any] = {
        name: checks.integer(value, name) for name, value in given.items() if value is not None
    }
    if size is not None:
        axes = max(1, len(found.size))
        changes["size"] = size * axes if len(size) == 1 else size
    setting = replace(
        found,
        **changes,
        precision=checks.choice(precision, "precision", PRECISIONS),
        threads=checks.integer(threads, "threads"),
        device=device,
    )
    setting.build()
    return setting
