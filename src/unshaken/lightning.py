"""Lightning: a module that trains a model with regularizers under a Trainer. The only importer.

In a LightningModule of your own nothing of this is needed: keep an :class:`unshaken.Objective` as
an attribute and return its value from ``training_step``.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from unshaken.divergences import Divergence
from unshaken.objective import Objective
from unshaken.regularizer import Term

PACKAGES = ("lightning.pytorch", "pytorch_lightning")
"""The same framework under two names; a Trainer of one takes no module of the other."""


def _framework() -> Any:
    """The package that is imported already, else the first that is installed."""
    for name in (*(p for p in PACKAGES if p in sys.modules), *PACKAGES):
        try:
            return importlib.import_module(name)
        except ImportError as error:
            reason = error
    raise ImportError(
        f"unshaken.lightning needs Lightning, which cannot be imported here ({reason}); install "
        'it with: pip install "unshaken[lightning]"'
    )


if TYPE_CHECKING:
    from lightning.pytorch import LightningModule
else:
    LightningModule = _framework().LightningModule


class RegularizedModule(LightningModule):
    """A model and its regularizers as a LightningModule: ``Trainer().fit(module, batches)``.

    A training batch is ``(x, y)``, ``(x, y, index)``, or ``{"labeled": (x, y), "unlabeled": u}``
    as ``CombinedLoader`` makes it, where u may be a tensor, ``[u]`` or ``[u, index]``; the indices
    are those of mask tables. Logged are ``train_loss`` and each weighted term as ``train_NAME``,
    in validation and test ``val_loss``, ``test_loss`` (without terms) and, where labels are
    classes, ``val_error``, ``test_error`` in per cent.

    Precision, accumulation, clipping and the strategies for several devices are the Trainer's. All
    passes happen inside ``training_step``, so the gradients of several processes are exact.

    Args:
        model: from ``(N, ...)`` to outputs ``(N, C)`` or ``(N, C, *rest)``.
        regularizers: terms to add.
        optimizer: makes the optimizer from parameter groups, as
            ``functools.partial(torch.optim.SGD, lr=0.1)``; Adam with ``lr`` unless given. Learned
            adversaries are a group with their own learning rate.
        scheduler: makes a learning-rate schedule from the optimizer, a step for each epoch.
        lr: learning rate of the model's group.
        criterion: the supervised loss; see :class:`unshaken.Objective`.

    Raises:
        ImportError: when this file is imported without Lightning.
        TypeError: a model or regularizer is none, or a batch has another form.

    Example:
        >>> module = RegularizedModule(model, unshaken.VAT(radius=0.6), lr=2e-3)
        >>> lightning.pytorch.Trainer(max_epochs=5).fit(module, loader)
    """

    def __init__(
        self,
        model: nn.Module,
        *regularizers: Term,
        optimizer: Callable[[Iterable[dict[str, Any]]], torch.optim.Optimizer] | None = None,
        scheduler: Callable[[torch.optim.Optimizer], Any] | None = None,
        lr: float = 1e-3,
        criterion: Divergence | Callable[[Tensor, Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.objective = Objective(model, *regularizers, criterion=criterion)
        self.lr = lr
        self._optimizer = optimizer or torch.optim.Adam
        self._scheduler = scheduler

    @property
    def model(self) -> nn.Module:
        """The model that is trained."""
        return self.objective.model

    def forward(self, x: Tensor) -> Tensor:
        """The model's outputs."""
        outputs: Tensor = self.model(x)
        return outputs

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The objective of a batch."""
        arguments, options = _parts(batch)
        loss: Tensor = self.objective(*arguments, **options)
        report = {f"train_{name}": value for name, value in self.objective.report.items()}
        self.log_dict(report, prog_bar=True, batch_size=len(arguments[0]))
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """The loss, and the error of a classifier."""
        self._measure(batch, "val")

    def test_step(self, batch: Any, batch_idx: int) -> None:
        """The loss, and the error of a classifier."""
        self._measure(batch, "test")

    def predict_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The model's outputs for ``x`` or ``(x, ...)``."""
        return self(batch if isinstance(batch, Tensor) else batch[0])

    def configure_optimizers(self) -> Any:
        """The optimizer over the model's and the adversaries' groups, and its schedule."""
        optimizer = self._optimizer(self.objective.parameter_groups(lr=self.lr))
        if self._scheduler is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": self._scheduler(optimizer)}

    def _measure(self, batch: Any, stage: str) -> None:
        x, y = batch[:2]
        outputs = self(x)
        criterion = self.objective.criterion
        loss = criterion.mean(outputs, criterion.target(outputs, y))
        found = {f"{stage}_loss": loss}
        if not y.is_floating_point() and outputs.dim() == y.dim() + 1:
            found[f"{stage}_error"] = 100 * (outputs.argmax(1) != y).float().mean()
        self.log_dict(found, prog_bar=True, batch_size=len(x))


def _parts(batch: Any) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
    """Arguments and options of the objective."""
    if isinstance(batch, Mapping) and "labeled" in batch:
        x, y = batch["labeled"][:2]
        unlabeled = batch.get("unlabeled")
        if unlabeled is None:
            return (x, y), {}
        rows = [unlabeled] if isinstance(unlabeled, Tensor) else list(unlabeled)
        return (x, y), dict(zip(("unlabeled", "index"), rows, strict=False))
    if isinstance(batch, (list, tuple)) and len(batch) in (2, 3):
        return tuple(batch[:2]), dict(zip(("index",), batch[2:], strict=False))
    raise TypeError(
        'a training batch must be (x, y), (x, y, index) or {"labeled": (x, y), "unlabeled": u}, '
        f"got {type(batch).__name__}"
        + (f" of {len(batch)}" if isinstance(batch, (list, tuple)) else "")
    )
