"""A regressor for scikit-learn that learns from labeled and unlabeled rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.model_selection import train_test_split
from sklearn.utils.validation import _check_sample_weight, check_array, check_consistent_length
from torch import Tensor

from unshaken.divergences import Divergence
from unshaken.methods import catalog
from unshaken.regularizer import Term
from unshaken.sklearn.base import RegularizedEstimator
from unshaken.sklearn.terms import Weighted, regressor_terms


class RegularizedRegressor(RegressorMixin, RegularizedEstimator):
    """A neural network for regression that small changes of its input do not shake.

    Everything is as in :class:`RegularizedClassifier`, with the squared error as loss and as
    divergence. Targets are standardized for training; a target of NaN means unlabeled.

    Args:
        regularizer: ``"vat"``, ``"random"``, ``"at-l2"``, ``"at-linf"``, a term whose
            divergence is made for regression, as
            ``AT(0.3, divergence=SquaredError(labeled=True))``, a list of them, or None.

    Attributes:
        module_: the network that predicts; its outputs are standardized targets.
        n_features_in_, feature_names_in_, loss_curve_, n_iter_: as in the classifier.
    """

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> RegularizedRegressor:
        """Train on rows ``X`` ``(N, D)`` or ``(N, C, *size)`` and targets ``(N,)`` or ``(N, T)``.

        Raises:
            ValueError: no target that is a number, NaN in X, or rows that do not fit.
        """
        self._check_settings()
        if y is None:
            raise ValueError("requires y to be passed, but the target y is None")
        X = self._validated(X, reset=True)
        self._row_shape = X.shape[1:]
        y = check_array(
            y, ensure_2d=False, dtype=np.float64, ensure_all_finite="allow-nan", input_name="y"
        )
        check_consistent_length(X, y)
        self._flat = y.ndim == 1
        y = y.reshape(len(y), -1)
        labeled = ~np.isnan(y).any(1)
        if not labeled.any():
            raise ValueError("y must hold at least one target other than NaN, got none")
        if np.isinf(y).any():
            raise ValueError("Input y contains infinity or a value too large for float64.")
        weights = _check_sample_weight(sample_weight, X).astype(np.float64)
        if weights[labeled].sum() <= 0:
            raise ValueError("sample_weight must not be zero for every row with a target")
        self.target_mean_, spread = y[labeled].mean(0), y[labeled].std(0)
        self.target_scale_ = np.where(spread > 0, spread, 1.0)
        going_on = bool(self.warm_start) and hasattr(self, "module_")
        X = self._standardized(X, reset=not going_on)
        self._start(X, y.shape[1], anew=not going_on)
        scaled = (y - self.target_mean_) / self.target_scale_
        shares = weights / weights[labeled].mean()
        # The squared error finds each row's weight beside its targets.
        targets = np.concatenate([scaled, shares[:, None]], 1).astype(np.float32)
        held = None
        if self.early_stopping:
            _, out = train_test_split(
                np.flatnonzero(labeled),
                test_size=float(self.validation_fraction),
                random_state=self._draw(),
            )
            held = X[out], torch.from_numpy(targets[out])
            kept = np.setdiff1d(np.arange(len(X)), out)
            X, targets, labeled = X[kept], targets[kept], labeled[kept]
        self._train(X, targets[labeled], labeled, int(self.epochs), held, first=not going_on)
        return self

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """The coefficient of determination R² on the rows whose targets are numbers."""
        targets = np.asarray(y, dtype=np.float64)
        labeled = ~np.isnan(targets.reshape(len(targets), -1)).any(1)
        if not labeled.any():
            raise ValueError("y must hold at least one target other than NaN, got none")
        weights = None if sample_weight is None else np.asarray(sample_weight)[labeled]
        predicted = self.predict(X)[labeled]
        return float(r2_score(targets[labeled], predicted, sample_weight=weights))

    def predict(self, X: Any) -> Any:
        """Targets ``(N,)``, or ``(N, T)`` where those of the training were."""
        outputs = self._predicted(X).double().numpy() * self.target_scale_ + self.target_mean_
        return outputs[:, 0] if self._flat else outputs

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.target_tags.multi_output = True
        return tags

    def _terms(self, shape: catalog.Shape) -> list[Term]:
        return regressor_terms(self.regularizer, shape, self.radius, self.weight)

    def _criterion(self) -> Divergence:
        return Weighted()

    def _error(self, outputs: Tensor, targets: Tensor) -> float:
        return float((outputs - targets[:, :-1]).square().mean())
