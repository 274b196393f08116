"""What the estimators share: a network that is trained from arrays, in epochs over all rows."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor, nn

from unshaken import checks, draws, models
from unshaken.autograd import normalization_layers
from unshaken.comparison.single import LARGE, few_threads
from unshaken.divergences import Divergence
from unshaken.methods import catalog
from unshaken.objective import Objective
from unshaken.regularizer import Term

EVALUATED = 1024
"""Rows that pass the network at once when it predicts."""


class RegularizedEstimator(BaseEstimator):
    """Training and prediction on arrays; a subclass knows what the targets mean."""

    def __init__(
        self,
        regularizer: Any = "vat",
        *,
        radius: float | None = None,
        weight: float | None = None,
        module: Any = None,
        hidden_layer_sizes: Any = (128, 64),
        epochs: int = 100,
        batch_size: int = 64,
        learning_rate: float = 3e-3,
        weight_decay: float = 1e-4,
        standardize: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        tol: float = 1e-4,
        warm_start: bool = False,
        random_state: Any = None,
        device: str | None = None,
        verbose: int = 0,
    ) -> None:
        self.regularizer = regularizer
        self.radius = radius
        self.weight = weight
        self.module = module
        self.hidden_layer_sizes = hidden_layer_sizes
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.standardize = standardize
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.warm_start = warm_start
        self.random_state = random_state
        self.device = device
        self.verbose = verbose

    @abstractmethod
    def _terms(self, shape: catalog.Shape) -> list[Term]:
        """The regularizers for inputs of a shape."""

    @abstractmethod
    def _criterion(self) -> Divergence:
        """The supervised loss."""

    @abstractmethod
    def _error(self, outputs: Tensor, targets: Tensor) -> float:
        """What early stopping watches: smaller is better."""

    def _check_settings(self) -> None:
        checks.integer(self.epochs, "epochs")
        checks.integer(self.batch_size, "batch_size", low=2)
        checks.integer(self.n_iter_no_change, "n_iter_no_change")
        checks.number(self.learning_rate, "learning_rate", low=0.0, open_low=True)
        checks.number(self.weight_decay, "weight_decay", low=0.0)
        checks.number(self.validation_fraction, "validation_fraction", low=0.0, high=1.0)
        checks.number(self.tol, "tol", low=0.0)

    def _validated(self, X: Any, *, reset: bool, y: Any = "no_validation") -> Any:
        options: dict[str, Any] = {} if isinstance(y, str) else {"multi_output": True}
        return validate_data(
            self, X, y, reset=reset, dtype=np.float64, allow_nd=True, order="C", **options
        )

    def _standardized(self, X: Any, *, reset: bool) -> Any:
        """Columns with mean 0 and variance 1, as the training rows had them; images by channel."""
        if not self.standardize:
            return X.astype(np.float32)
        if reset:
            axes = (0, *range(2, X.ndim))
            self.mean_ = X.mean(axes, keepdims=True)
            spread = X.std(axes, keepdims=True)
            # A column that never changes says nothing, whatever its rounding.
            still = spread <= 1e-12 * np.maximum(1.0, np.abs(self.mean_))
            self.scale_ = np.where(still, 1.0, spread)
        return ((X - self.mean_) / self.scale_).astype(np.float32)

    def _build(self, X: Any, outputs: int) -> None:
        """The network and its objective, all decided by ``random_state``."""
        shape = catalog.Shape(X.shape[1], tuple(X.shape[2:]), len(X), classes=outputs)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._draw())
            network = self._network(shape, outputs)
            terms = self._terms(replace(shape, network=network))
        # As mean teacher's teacher, which is what its paper evaluates.
        self.module_ = next((t.answers for t in terms if t.answers is not None), network)
        objective = Objective(network, *terms, criterion=self._criterion(), alarm=False)
        self._objective = objective.to(self._place())
        groups = self._objective.parameter_groups(
            lr=float(self.learning_rate), weight_decay=float(self.weight_decay)
        )
        self._optimizer = torch.optim.AdamW(groups)
        self.t_ = 0
        self.n_iter_ = 0
        self.loss_curve_: list[float] = []

    def _network(self, shape: catalog.Shape, outputs: int) -> nn.Module:
        """The network, as the method changes it where that is given by its name."""
        named = isinstance(self.regularizer, str)
        settings = catalog.settings_for(self.regularizer, {}) if named else {}
        for part in settings:
            # Of mean teacher's average the term has its own.
            if catalog.training_changes({part: settings[part]}).keys() - {"ema"}:
                raise ValueError(
                    f"regularizer: {part} changes how the network is trained and averaged, which "
                    "this estimator does not do; unshaken train does"
                )
        return catalog.adapt(self._plain_network(shape, outputs, settings), shape, settings)

    def _plain_network(
        self, shape: catalog.Shape, outputs: int, settings: dict[str, dict[str, float]]
    ) -> nn.Module:
        made: Any = self.module
        if isinstance(made, nn.Module):
            return copy.deepcopy(made)
        options: dict[str, Any] = {}
        if settings:
            # What a method by name asks of the network's builder, as dropout does.
            options = catalog.network_options(settings)
        if isinstance(made, str):
            return models.build(
                made, channels=shape.channels, size=shape.size, classes=outputs, **options
            )
        if made is not None:
            if not callable(made):
                raise TypeError(
                    "module must be a torch.nn.Module, the name of a network, a function "
                    f"(channels, size, classes) -> module, or None; got {made!r}"
                )
            network = made(channels=shape.channels, size=shape.size, classes=outputs)
            if not isinstance(network, nn.Module):
                raise TypeError(f"module must return a torch.nn.Module, got {network!r}")
            return network
        widths = [int(w) for w in np.atleast_1d(self.hidden_layer_sizes)]
        features = int(np.prod([shape.channels, *shape.size]))
        return models.mlp([features, *widths, outputs], **options)

    def _place(self) -> torch.device:
        if self.device is not None:
            return torch.device(self.device)
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def _draw(self) -> int:
        return int(self._random.randint(np.iinfo(np.int32).max))

    def _start(self, X: Any, outputs: int, *, anew: bool) -> None:
        if anew:
            self._random = check_random_state(self.random_state)
            self._build(X, outputs)

    def _train(
        self,
        X: Any,
        targets: Any,
        labeled: Any,
        epochs: int,
        held: tuple[Any, Any] | None = None,
        *,
        first: bool = True,
    ) -> None:
        """Epochs over all rows; each batch of unlabeled ones comes with one of labeled rows.

        Args:
            X: every row, standardized.
            targets: of the labeled rows, as the criterion takes them.
            labeled: which rows those are.
            epochs: how many; fewer where early stopping ends them.
            held: rows and targets that early stopping watches.
            first: whether the terms have seen no other rows: one that keeps something for each row
                would take these for those.
        """
        place = self._place()
        x_all = torch.from_numpy(np.ascontiguousarray(X)).to(place)
        index = torch.from_numpy(np.flatnonzero(labeled)).to(place)
        y = torch.as_tensor(targets).to(place)
        semi = len(index) < len(x_all)
        steps = max(1, -(-len(x_all) // int(self.batch_size)))
        total = epochs * steps
        drawing = torch.Generator(device=place)
        best: tuple[float, dict[str, Tensor]] | None = None
        waited = 0
        full = [group["lr"] for group in self._optimizer.param_groups]
        with few_threads(None, self.module_), torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._draw())
            shuffled = torch.Generator().manual_seed(self._draw())
            rows = _batches(len(index), int(self.batch_size), shuffled)
            free = _batches(len(x_all), int(self.batch_size), shuffled)
            self._objective.train()
            for epoch in range(epochs):
                losses = []
                for step in range(steps):
                    done = (epoch * steps + step) / total
                    # Constant, then linearly to zero over the second half.
                    factor = min(1.0, 2.0 * (1.0 - done)) if epochs > 1 else 1.0
                    for group, rate in zip(self._optimizer.param_groups, full, strict=True):
                        group["lr"] = rate * factor
                    own = next(rows).to(place)
                    others = next(free).to(place) if semi else None
                    drawing.manual_seed(self._draw())
                    self._optimizer.zero_grad()
                    with draws.shared(drawing), _single_rows(self._objective, len(own)):
                        loss = self._objective(
                            x_all[index[own]],
                            y[own],
                            unlabeled=None if others is None else x_all[others],
                            index=(index[own] if others is None else others) if first else None,
                            labeled_index=index[own] if first else None,
                        )
                    loss.backward()
                    self._optimizer.step()
                    losses.append(loss.detach())
                    self.t_ += 1
                self.n_iter_ += 1
                self.loss_curve_.append(float(torch.stack(losses).mean()))
                if not np.isfinite(self.loss_curve_[-1]):
                    raise ValueError(
                        f"the loss became {self.loss_curve_[-1]} in epoch {self.n_iter_}: try a "
                        f"smaller learning_rate than {self.learning_rate} or standardize=True"
                    )
                if self.verbose:
                    print(f"epoch {self.n_iter_}: loss {self.loss_curve_[-1]:.4f}")
                if held is None:
                    continue
                error = self._error(self._outputs(held[0]), held[1])
                self._objective.train()
                if best is None or error < best[0] - float(self.tol):
                    best = error, copy.deepcopy(self._objective.state_dict())
                    waited = 0
                else:
                    waited += 1
                if waited >= int(self.n_iter_no_change):
                    break
        for group, rate in zip(self._optimizer.param_groups, full, strict=True):
            group["lr"] = rate
        if best is not None:
            self.best_validation_error_ = best[0]
            self._objective.load_state_dict(best[1])
        self._objective.eval()

    def _outputs(self, X: Any) -> Tensor:
        """The network's outputs for standardized rows, on the CPU.

        Small networks of the library compute them in double precision, so that what a row gets
        does not depend on the rows beside it; a network of the user's own may not be made for it.
        """
        place = self._place()
        network = self.module_.to(place).eval()
        own = self.module is not None and not isinstance(self.module, str)
        small = sum(p.numel() for p in network.parameters()) < LARGE
        if small and place.type == "cpu" and not own:
            network = copy.deepcopy(network).double()
        dtype = next((p.dtype for p in network.parameters()), torch.float32)
        with few_threads(None, network), torch.no_grad():
            parts = [
                network(torch.from_numpy(np.ascontiguousarray(part)).to(place, dtype)).cpu()
                for part in np.array_split(X, max(1, -(-len(X) // EVALUATED)))
            ]
        return torch.cat(parts)

    def _predicted(self, X: Any) -> Tensor:
        check_is_fitted(self, "module_")
        X = self._validated(X, reset=False)
        if X.shape[1:] != self._row_shape:
            raise ValueError(f"X must hold rows of shape {self._row_shape}, got {X.shape[1:]}")
        return self._outputs(self._standardized(X, reset=False))


def _batches(count: int, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Shuffled rows without end, ``min(count, size)`` at a time."""
    size = min(count, size)
    while True:
        order = torch.randperm(count, generator=generator)
        for first in range(0, count - size + 1, size):
            yield order[first : first + size]


class _single_rows:
    """Batch norm has no statistics of a single row: inside, it takes its running ones for it."""

    def __init__(self, module: nn.Module, rows: int) -> None:
        self._layers = normalization_layers(module) if rows == 1 else []

    def __enter__(self) -> None:
        for layer in self._layers:
            layer.eval()

    def __exit__(self, *_: object) -> None:
        for layer in self._layers:
            layer.train()
