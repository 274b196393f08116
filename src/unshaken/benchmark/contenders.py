"""The steps that compete: plain, by the library, and by the textbook."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from unshaken.autograd import drops_out
from unshaken.benchmark.setting import Setting
from unshaken.benchmark.variants import Variant
from unshaken.methods import catalog
from unshaken.objective import Objective

Kind = Literal["plain", "library", "compiled", "textbook"]


@dataclass
class Contender:
    """One way to make a training step.

    Attributes:
        name: the method.
        kind: who computes it.
        loss: the loss of the batch, a scalar that has not been sent backward.
        optimizer: the optimizer of all that the loss trains.
        period: steps after which the cost repeats.
        objective: the library's objective, where it is one.
    """

    name: str
    kind: Kind
    loss: Callable[[], Tensor]
    optimizer: Optimizer
    period: int = 1
    objective: Objective | None = None

    def clear(self) -> None:
        """Let go of what the last step left: gradients and reports."""
        self.optimizer.zero_grad()
        if self.objective is not None:
            self.objective.report = {}

    def work(self) -> None:
        """Forward, backward and optimizer, from cleared gradients."""
        self.loss().backward()
        self.optimizer.step()

    def step(self) -> None:
        """A whole training step."""
        self.optimizer.zero_grad()
        self.work()


@dataclass
class Field:
    """All contenders on one network and one batch."""

    network: nn.Module
    inputs: Tensor
    plain: Contender
    others: list[Contender]


def field_of(
    setting: Setting,
    variants: Iterable[Variant],
    textbook: bool = True,
    compiled: bool = False,
) -> Field:
    """The contenders of one setting.

    All share one network, whose learning rate is zero: the arithmetic is a training step's, and
    every contender finds the same weights. The objectives' alarm is off: what its probes cost (on
    one call in 50) would fall on some turns and not on others.

    Args:
        setting: network, batch, optimizer.
        variants: what the library computes.
        textbook: whether the textbooks take part.
        compiled: whether the library's steps as compiled code take part.
    """
    network = setting.build()
    x, y, index = setting.batch()
    shared = setting.optimizer_of([{"params": list(network.parameters()), "lr": 0.0}])

    def trained(own: Sequence[Tensor], objective: Objective) -> Optimizer:
        """Players' own parameters need an optimizer that has them."""
        if not own and objective.model is network:
            return shared
        return setting.optimizer_of(objective.parameter_groups(lr=0.0))

    def plain() -> Tensor:
        return F.cross_entropy(network(x), y)

    others = []
    for variant in variants:
        model = network
        if variant.name == "dropout":
            rate = catalog.CATALOG["dropout"].settings["rate"]
            model = setting.build(dropout=rate)
        row = catalog.CATALOG.get(variant.name)
        if row is not None and row.adapt is not None:
            model = row.adapt(copy.deepcopy(network), setting.shape, row.settings)
        # What drops out is not compiled.
        both = compiled and not drops_out(model)
        kinds: list[Kind] = ["library", "compiled"] if both else ["library"]
        for kind in kinds:
            terms = variant.build(replace(setting.shape, network=model))
            objective = Objective(model, *terms, alarm=False).to(setting.device, setting.dtype)
            objective.train()
            if kind == "compiled":
                objective.compile()
            optimizer = trained([p for term in terms for p in term.parameters()], objective)

            def by_library(objective: Objective = objective) -> Tensor:
                loss: Tensor = objective(x, y, index=index)
                return loss

            others.append(
                Contender(variant.name, kind, by_library, optimizer, variant.period, objective)
            )
        book = variant.build_textbook(terms) if textbook else None
        if book is not None:

            def by_textbook(book: nn.Module = book, model: nn.Module = model) -> Tensor:
                loss: Tensor = book(model, x, y, index)
                return loss

            others.append(Contender(variant.name, "textbook", by_textbook, optimizer))
    for contender in others:
        contender.loss = _cast(setting, contender.loss)
    return Field(network, x, Contender("plain", "plain", _cast(setting, plain), shared), others)


def _cast(setting: Setting, loss: Callable[[], Tensor]) -> Callable[[], Tensor]:
    return lambda: setting.loss(loss)
