"""A classifier for scikit-learn that learns from labeled and unlabeled rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.base import ClassifierMixin
from sklearn.model_selection import train_test_split
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, column_or_1d
from torch import Tensor

from unshaken.divergences import CrossEntropy, Divergence
from unshaken.methods import catalog
from unshaken.regularizer import Term
from unshaken.sklearn.base import RegularizedEstimator
from unshaken.sklearn.terms import classifier_terms

UNLABELED = -1


class RegularizedClassifier(ClassifierMixin, RegularizedEstimator):
    """A neural network that small changes of its input do not shake, as an estimator.

    A label of -1 means unlabeled, as in scikit-learn's semi-supervised estimators: such rows enter
    the regularizers that need no labels (``"vat"``, ``"entropy"``, ...). Labels that are strings
    have to come in an array of objects to hold a -1 among them.

    Args:
        regularizer: a method's name as on the command line, several joined by ``+``, an unshaken
            term or a list of them (copied in each fit), or None. With a handful of labels VAT
            alone may give all rows to one class; entropy minimization beside it prevents that.
        radius: size of the perturbation, of a method given by name. Unless given, additive ones
            (``vat``, ``at-l2``, ...) take a quarter of a typical standardized row's length,
            ``0.25 √features``; movements their default in pixels.
        weight: factor of the regularizer, of a method given by name.
        module: a ``torch.nn.Module`` (copied), the name of a network (``"conv_small"``), or a
            function ``(channels, size, classes) -> module``; unless given an MLP with batch norm.
        hidden_layer_sizes: widths of that MLP's hidden layers.
        epochs: passes over all rows, labeled or not.
        batch_size: rows of a batch; one of labeled and, with unlabeled rows, one of all rows.
        learning_rate: of AdamW, constant and then linearly to zero over the second half.
        weight_decay: of AdamW.
        standardize: give each column (each channel of images) mean 0 and variance 1 first.
        class_weight: factors of the classes in the loss: a dict, ``"balanced"``, or None.
        early_stopping: hold out ``validation_fraction`` of the labeled rows, stop when their error
            has not fallen by ``tol`` for ``n_iter_no_change`` epochs, and keep the best weights.
        validation_fraction, n_iter_no_change, tol: see ``early_stopping``.
        warm_start: let ``fit`` go on from the weights of the last one.
        random_state: decides weights, batches and draws; the global random states stay as they are.
        device: ``"cpu"``, ``"cuda"``; a GPU where there is one unless given.
        verbose: print the loss of each epoch.

    Attributes:
        classes_: the classes, sorted, without -1.
        n_features_in_, feature_names_in_: as in scikit-learn.
        module_: the network that predicts, the trained one or mean teacher's teacher; its outputs
            are logits of standardized rows.
        loss_curve_: mean loss of each epoch.
        n_iter_: epochs done.

    Sample weights and class weights multiply a row's loss and its regularizers that use the label;
    they do nothing to the label-free terms, in which every row counts alike.

    Example:
        >>> from unshaken.sklearn import RegularizedClassifier
        >>> RegularizedClassifier(regularizer="vat", epochs=50).fit(X, y).score(Xt, yt)
    """

    def __init__(
        self,
        regularizer: Any = "vat+entropy",
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
        class_weight: Any = None,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        tol: float = 1e-4,
        warm_start: bool = False,
        random_state: Any = None,
        device: str | None = None,
        verbose: int = 0,
    ) -> None:
        super().__init__(
            regularizer,
            radius=radius,
            weight=weight,
            module=module,
            hidden_layer_sizes=hidden_layer_sizes,
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            standardize=standardize,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            n_iter_no_change=n_iter_no_change,
            tol=tol,
            warm_start=warm_start,
            random_state=random_state,
            device=device,
            verbose=verbose,
        )
        self.class_weight = class_weight

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> RegularizedClassifier:
        """Train on rows ``X`` ``(N, D)`` or ``(N, C, *size)`` and labels ``y`` ``(N,)``.

        Raises:
            ValueError: fewer than two classes, no labeled row, NaN, or rows that do not fit.
        """
        self._check_settings()
        X, y, labeled = self._rows(X, y, reset=True)
        classes = np.unique(y[labeled].astype(_type_of(y[labeled])))
        if len(classes) < 2:
            raise ValueError(
                f"y must hold at least 2 classes among its labeled rows, got {len(classes)} class"
            )
        self.classes_: Any
        going_on = bool(self.warm_start) and hasattr(self, "module_")
        if going_on and not np.array_equal(classes, self.classes_):
            raise ValueError(
                f"warm_start goes on with the classes {self.classes_}, got {classes} in y"
            )
        self.classes_ = classes
        X = self._standardized(X, reset=not going_on)
        self._start(X, len(classes), anew=not going_on)
        codes = np.searchsorted(classes, y[labeled].astype(classes.dtype))
        weights = self._weights(sample_weight, X, y, labeled, codes)
        held = None
        if self.early_stopping:
            X, labeled, codes, weights, held = self._hold_out(X, labeled, codes, weights)
        targets = self._targets(codes, weights)
        self._train(X, targets, labeled, int(self.epochs), held, first=not going_on)
        return self

    def partial_fit(
        self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None
    ) -> RegularizedClassifier:
        """One epoch over these rows.

        Args:
            X, y: rows and labels.
            classes: every class that will ever come, -1 left out; needed in the first call.
                Standardization is that of the first call's rows.
            sample_weight: as in :meth:`fit`.
        """
        self._check_settings()
        first = not hasattr(self, "module_")
        if first and classes is None:
            raise ValueError("classes must be given in the first call of partial_fit")
        X, y, labeled = self._rows(X, y, reset=first)
        if classes is not None:
            wanted = np.unique([c for c in np.asarray(classes).tolist() if not _is_unlabeled(c)])
            if not first and not np.array_equal(wanted, self.classes_):
                raise ValueError(
                    f"classes must be those of the first call, {self.classes_}; got {wanted}"
                )
            self.classes_ = wanted
        unknown = np.setdiff1d(y[labeled].astype(self.classes_.dtype), self.classes_)
        if len(unknown):
            raise ValueError(f"y must hold the classes {self.classes_} or -1, got {unknown}")
        X = self._standardized(X, reset=first)
        self._start(X, len(self.classes_), anew=first)
        codes = np.searchsorted(self.classes_, y[labeled].astype(self.classes_.dtype))
        weights = self._weights(sample_weight, X, y, labeled, codes)
        self._train(X, self._targets(codes, weights), labeled, 1, first=False)
        return self

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Accuracy on the rows that have a label (cross-validation and searches take it).

        Raises:
            ValueError: all labels are -1.
        """
        labeled = np.array([not _is_unlabeled(label) for label in np.asarray(y).ravel()], bool)
        if not labeled.any():
            raise ValueError("y must hold at least one label other than -1, got none")
        weights = None if sample_weight is None else np.asarray(sample_weight)[labeled]
        right = np.asarray(y).ravel()[labeled] == self.predict(X)[labeled]
        return float(np.average(right, weights=weights))

    def decision_function(self, X: Any) -> Any:
        """Logits ``(N, classes)``; of two classes the difference ``(N,)`` in the second's favor."""
        logits = self._predicted(X).double().numpy()
        return logits[:, 1] - logits[:, 0] if len(self.classes_) == 2 else logits

    def predict_proba(self, X: Any) -> Any:
        """Probabilities ``(N, classes)`` in the order of ``classes_``."""
        return self._predicted(X).double().softmax(1).numpy()

    def predict_log_proba(self, X: Any) -> Any:
        """Logarithms of :meth:`predict_proba`."""
        return self._predicted(X).double().log_softmax(1).numpy()

    def predict(self, X: Any) -> Any:
        """The likeliest class of each row."""
        check_is_fitted(self, "module_")
        return self.classes_[self._predicted(X).argmax(1).numpy()]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags

    def _terms(self, shape: catalog.Shape) -> list[Term]:
        return classifier_terms(self.regularizer, shape, self.radius, self.weight)

    def _criterion(self) -> Divergence:
        return CrossEntropy()

    def _error(self, outputs: Tensor, targets: Tensor) -> float:
        return float((outputs.argmax(1) != targets).double().mean())

    def _rows(self, X: Any, y: Any, *, reset: bool) -> tuple[Any, Any, Any]:
        X, y = self._validated(X, y=y, reset=reset)
        if reset:
            self._row_shape = X.shape[1:]
        y = column_or_1d(y, warn=True)
        labeled = np.array([not _is_unlabeled(label) for label in y], bool)
        if not labeled.any():
            raise ValueError("y must hold at least one label other than -1, got none")
        check_classification_targets(y[labeled].astype(_type_of(y[labeled])))
        return X, y, labeled

    def _weights(self, sample_weight: Any, X: Any, y: Any, labeled: Any, codes: Any) -> Any:
        """A factor for each labeled row."""
        weights = _check_sample_weight(sample_weight, X)[labeled].astype(np.float64)
        if self.class_weight is not None:
            present = np.unique(codes)
            factors = np.ones(len(self.classes_))
            factors[present] = compute_class_weight(
                self.class_weight, classes=self.classes_[present], y=self.classes_[codes]
            )
            weights = weights * factors[codes]
        if weights.min() < 0:
            raise ValueError(f"sample_weight must be >= 0, got {weights.min()}")
        if weights.sum() == 0:
            raise ValueError("sample_weight must not be zero for every labeled row")
        return weights

    def _targets(self, codes: Any, weights: Any) -> Tensor:
        """Class indices; with weights other than 1, one-hot rows times them."""
        indices = torch.from_numpy(codes.astype(np.int64))
        if np.all(weights == 1):
            return indices
        hot = torch.nn.functional.one_hot(indices, len(self.classes_)).float()
        return hot * torch.from_numpy(weights.astype(np.float32)).unsqueeze(1)

    def _hold_out(
        self, X: Any, labeled: Any, codes: Any, weights: Any
    ) -> tuple[Any, Any, Any, Any, tuple[Any, Tensor]]:
        """Labeled rows for early stopping, taken out of the training."""
        rows = np.flatnonzero(labeled)
        counts = np.bincount(codes)
        share = float(self.validation_fraction)
        enough = counts[counts > 0].min() >= 2 and share * len(codes) >= len(self.classes_)
        try:
            kept, out = train_test_split(
                np.arange(len(rows)),
                test_size=share,
                random_state=self._draw(),
                stratify=codes if enough else None,
            )
        except ValueError as error:
            raise ValueError(
                f"validation_fraction={share} of {len(rows)} labeled rows leaves too few"
            ) from error
        held = X[rows[out]], torch.from_numpy(codes[out].astype(np.int64))
        without = np.ones(len(X), bool)
        without[rows[out]] = False
        return (
            X[without],
            labeled[without],
            codes[kept][np.argsort(rows[kept])],
            weights[kept][np.argsort(rows[kept])],
            held,
        )


def _is_unlabeled(label: Any) -> bool:
    return not isinstance(label, (str, bytes, bool, np.bool_)) and label == UNLABELED


def _type_of(labels: Any) -> Any:
    """The type in which labels are sorted: arrays of objects hold strings or numbers."""
    if labels.dtype.kind != "O":
        return labels.dtype
    return np.array(labels.tolist()).dtype
