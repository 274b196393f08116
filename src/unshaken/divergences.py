"""How far two outputs of a model lie apart: the D of the one formula."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unshaken import checks, draws

Loss = Callable[[Tensor, Tensor], Tensor]
"""``(outputs, target) -> (N, ...)``; every :class:`Divergence` is one."""


def example_mean(values: Tensor) -> Tensor:
    """``(N, ...) -> (N,)``, the mean over everything but the batch."""
    return values.flatten(1).mean(1) if values.dim() > 1 else values


def at_least_single(logits: Tensor) -> Tensor:
    """Half precision as float32: logarithms of small probabilities need its range."""
    return logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits


class Divergence(nn.Module, ABC):
    """Distance of outputs ``(N, C, *rest)`` from a target, one number for each example.

    ``labeled`` says what the target is made of: the label ``y``, or the clean prediction. A
    label-free divergence is zero, and its gradient too, at the clean prediction itself.
    """

    labeled: bool = False

    @property
    def key(self) -> Hashable:
        """Divergences of one key are the same function."""
        return id(self)

    @abstractmethod
    def target(self, logits: Tensor, y: Tensor | None) -> Tensor:
        """What perturbed outputs are compared with; a constant, never differentiated."""

    @abstractmethod
    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """``(N,)``; positions of dense outputs (segmentation) are averaged."""

    def mean(self, logits: Tensor, target: Tensor) -> Tensor:
        """The mean over the batch, a scalar."""
        values: Tensor = self(logits, target)
        return values.mean()

    def curvature(self, logits: Tensor, direction: Tensor) -> Tensor:
        """The Hessian of D in its outputs at the clean ``logits``, times ``direction``.

        Both have the outputs' shape ``(N, C, *rest)``, and so has the result.
        """
        with torch.enable_grad():
            at = logits.detach().requires_grad_()
            total = self(at, self.target(logits.detach(), None)).sum()
            (slope,) = torch.autograd.grad(total, at, create_graph=True)
            (product,) = torch.autograd.grad(slope, at, direction)
        return product


class CrossEntropy(Divergence):
    """``D = −log p_y``, the cross-entropy with the label (VMT eq. 4, xVAT eq. 1).

    Labels are class indices ``(N,)`` (or ``(N, *rest)`` for dense outputs ``(N, C, *rest)``), or
    probabilities of the outputs' shape. The options are those of ``torch.nn.CrossEntropyLoss``,
    and so is the mean over a batch: with class indices, entries count by the weight of their class
    and ignored ones not at all. (A batch in which none counts gives 0.) So an example's value is
    its own mean times a factor of the batch; a term that normalizes its gradient, as
    ``VMT(gradient="unit")``, loses the factor.

    Args:
        weight: a factor for each class, ``(C,)``.
        ignore_index: the class index of entries without a label.
        label_smoothing: the share of the label that is spread evenly over the classes, in [0, 1].

    Raises:
        ValueError: on a smoothing outside of [0, 1], or weights that are no vector.
    """

    labeled = True
    weight: Tensor | None

    def __init__(
        self,
        weight: Tensor | None = None,
        ignore_index: int = -100,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        if weight is not None and (not isinstance(weight, Tensor) or weight.dim() != 1):
            got = tuple(weight.shape) if isinstance(weight, Tensor) else type(weight).__name__
            raise ValueError(f"weight must be a tensor with one number for each class, got {got}")
        self.register_buffer("weight", weight, persistent=False)
        self._weights = None if weight is None else tuple(weight.tolist())
        self.ignore_index = ignore_index
        self.label_smoothing = checks.number(label_smoothing, "label_smoothing", low=0, high=1)

    @property
    def key(self) -> Hashable:
        if type(self) is not CrossEntropy:
            return super().key  # what a subclass computes is its own
        return "cross-entropy", self._weights, self.ignore_index, self.label_smoothing

    def target(self, logits: Tensor, y: Tensor | None) -> Tensor:
        if y is None:
            raise ValueError(
                "CrossEntropy needs labels, got y=None; use VAT, MVAT or XVAT for unlabeled data"
            )
        return checks.labels(y, logits.shape[0], logits, ignore=self.ignore_index)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        values = example_mean(self._cross_entropy(logits, target, "none"))
        if self._even(target):
            return values
        means = draws.group_means(example_mean(self._counts(target, values)))
        share = torch.where(means > 0, 1 / means.clamp_min(torch.finfo(means.dtype).tiny), 0)
        return values * (share if share.dim() == 0 else draws.to_rows(share, len(values)))

    def mean(self, logits: Tensor, target: Tensor) -> Tensor:
        """The mean over the batch, by one fused kernel."""
        if self._even(target):
            return self._cross_entropy(logits, target, "mean")
        total = self._cross_entropy(logits, target, "sum")
        count = self._counts(target, total).sum()
        return total / torch.where(count > 0, count, 1)

    def _cross_entropy(self, logits: Tensor, target: Tensor, reduction: str) -> Tensor:
        logits = at_least_single(logits)
        weight = None if self.weight is None else self.weight.to(logits)
        return F.cross_entropy(
            logits,
            target,
            weight,
            ignore_index=-100 if target.is_floating_point() else self.ignore_index,
            reduction=reduction,
            label_smoothing=self.label_smoothing,
        )

    def _even(self, target: Tensor) -> bool:
        """Whether all entries count alike; labels are looked at on the CPU alone."""
        if target.is_floating_point():
            return True
        if self.weight is not None or target.device.type != "cpu" or torch.compiler.is_compiling():
            return False
        if self.ignore_index < 0:
            return int(target.amin()) >= 0
        return not bool((target == self.ignore_index).any())

    def _counts(self, target: Tensor, like: Tensor) -> Tensor:
        """What each entry counts."""
        kept = target != self.ignore_index
        if self.weight is None:
            return kept.to(like)
        return self.weight.to(like)[torch.where(kept, target, 0)] * kept

    def extra_repr(self) -> str:
        said = [] if self.weight is None else [f"weight={self.weight.tolist()}"]
        said += [] if self.ignore_index == -100 else [f"ignore_index={self.ignore_index}"]
        smoothing = self.label_smoothing
        return ", ".join(said + ([f"label_smoothing={smoothing:g}"] if smoothing else []))


class KL(Divergence):
    """``D = KL[p ‖ q] = Σ p log(p / q)`` from the clean prediction p to the perturbed one q.

    (VAT; xVAT eq. 2.) With ``reverse=True`` it is ``KL[q ‖ p]``, the direction that the published
    xVAT program uses. p is a constant: no gradient flows into the clean prediction.
    """

    def __init__(self, reverse: bool = False) -> None:
        super().__init__()
        self.reverse = reverse

    @classmethod
    def named(cls, name: str) -> KL:
        """The one that a regularizer's ``divergence`` names: ``"kl"`` or ``"reverse-kl"``."""
        checks.choice(name, "divergence", ("kl", "reverse-kl"))
        return cls(reverse=name == "reverse-kl")

    def target(self, logits: Tensor, y: Tensor | None) -> Tensor:
        if logits.dim() < 2 or logits.shape[1] < 2:
            raise ValueError(
                "KL needs outputs of shape (N, C) with at least 2 classes, got "
                f"{tuple(logits.shape)}; use SquaredError for a single output"
            )
        return at_least_single(logits.detach()).log_softmax(1)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        log_q = at_least_single(logits).log_softmax(1)
        first, second = (log_q, target) if self.reverse else (target, log_q)
        # A class that is impossible in both counts nothing, where ∞ − ∞ would be NaN.
        apart = torch.where(first.exp() > 0, first - second, 0)
        return example_mean((first.exp() * apart).sum(1))

    def curvature(self, logits: Tensor, direction: Tensor) -> Tensor:
        """``(diag p − p pᵀ) v``, the Fisher matrix of a softmax; the same for both directions."""
        p = at_least_single(logits.detach()).softmax(1)
        # Measured from the likeliest class, so that nothing cancels where p is nearly certain.
        from_top = direction - direction.gather(1, p.argmax(1, keepdim=True))
        positions = max(1, p[0, 0].numel())
        return p * (from_top - (p * from_top).sum(1, keepdim=True)) / positions

    def extra_repr(self) -> str:
        return "reverse=True" if self.reverse else ""


class SquaredError(Divergence):
    """``D = mean (f(x') − target)²`` over the outputs of an example.

    The target is the clean output, or the label ``y`` with ``labeled=True`` (regression).
    """

    def __init__(self, labeled: bool = False) -> None:
        super().__init__()
        self.labeled = labeled

    def target(self, logits: Tensor, y: Tensor | None) -> Tensor:
        if not self.labeled:
            return logits.detach()
        if y is None:
            raise ValueError("SquaredError(labeled=True) needs labels, got y=None")
        if y.shape != logits.shape:
            raise ValueError(
                f"y must have the outputs' shape {tuple(logits.shape)}, got {tuple(y.shape)}"
            )
        return y.to(logits.dtype)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        return example_mean((logits - target).square())

    def extra_repr(self) -> str:
        return "labeled=True" if self.labeled else ""


class Function(Divergence):
    """Any callable as a divergence: ``function(outputs, target) -> (N,)`` or ``(N, ...)``.

    Args:
        function: a differentiable function; entries beyond the batch are averaged.
        labeled: whether ``target`` is the label ``y``; otherwise it is the clean output, at which
            the function must be smallest.
    """

    def __init__(self, function: Loss, labeled: bool = False) -> None:
        super().__init__()
        self.function = function
        self.labeled = labeled

    def target(self, logits: Tensor, y: Tensor | None) -> Tensor:
        if not self.labeled:
            return logits.detach()
        if y is None:
            raise ValueError(
                "this divergence was made with labeled=True and needs labels, got y=None"
            )
        return y

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        values = self.function(logits, target)
        if not isinstance(values, Tensor) or values.dim() == 0 or len(values) != len(logits):
            got = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
            raise ValueError(
                f"a divergence must return one value for each of the {len(logits)} examples, "
                f"got {got}; use reduction='none'"
            )
        return example_mean(values)

    def extra_repr(self) -> str:
        name = getattr(self.function, "__name__", type(self.function).__name__)
        return f"{name}, labeled={self.labeled}"


def as_criterion(criterion: Loss | None, name: str = "criterion") -> Divergence:
    """A supervised loss: by default the cross-entropy; of a callable a labeled :class:`Function`.

    ``torch.nn.CrossEntropyLoss`` becomes the :class:`CrossEntropy` of its options.

    Raises:
        TypeError: if it is no function.
        ValueError: if it does not compare with labels, or is a sum over the batch.
    """
    if criterion is None:
        return CrossEntropy()
    if not callable(criterion):
        raise TypeError(
            f"{name} must be a Divergence or a callable (outputs, y), got {criterion!r}"
        )
    if type(criterion) is nn.CrossEntropyLoss:
        if criterion.reduction == "sum":
            raise ValueError(f"{name} must be a mean over the batch, got reduction='sum'")
        return CrossEntropy(criterion.weight, criterion.ignore_index, criterion.label_smoothing)
    found = criterion if isinstance(criterion, Divergence) else Function(criterion, labeled=True)
    if not found.labeled:
        raise ValueError(f"{name} must compare with labels (labeled=True), got {found!r}")
    return found


def as_divergence(divergence: Loss) -> Divergence:
    """``divergence`` itself, or a label-free :class:`Function` of a plain callable.

    ``torch.nn.CrossEntropyLoss`` becomes the :class:`CrossEntropy` of its options.
    """
    if isinstance(divergence, Divergence):
        return divergence
    if type(divergence) is nn.CrossEntropyLoss:
        return as_criterion(divergence, "divergence")
    if callable(divergence):
        return Function(divergence)
    raise TypeError(
        f"divergence must be a Divergence or a callable (outputs, target), got {divergence!r}"
    )
