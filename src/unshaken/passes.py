"""The clean pass over the network, made once and shared by every term that needs it."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from contextlib import AbstractContextManager, nullcontext
from copy import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from unshaken import checks
from unshaken.autograd import Moving, RandomState, full_precision
from unshaken.divergences import Divergence
from unshaken.double_backward import Session, TwiceDifferentiable
from unshaken.kernels import comparable_attention, differentiable_attention, uncompiled

Model = Callable[[Tensor], Tensor]

TINY = 1 << 12
"""Numbers in a batch below which looking at each of the model's calls costs more than it saves."""

LOSS_SCALE = 1024.0
"""Under float16 the gradient of a sure prediction would fall below its range, as a gradient scaler
knows; this is about what that starts with for each example of a batch."""

_NO_GRAPH = (
    "model gives outputs that do not depend on x through autograd; a regularizer needs a model "
    "whose input can be differentiated"
)


class CleanPass:
    """One batch, the model's outputs for it, and further passes that leave no trace.

    Nothing runs before it is asked for. Passes beyond the first draw the same dropout masks as the
    first, follow the batch-norm ``policy``, and restore everything they touch.

    Args:
        model: any callable from inputs to outputs; a module's parameters are only read.
        x: ``(N, ...)`` inputs, already checked.
        y: labels, if there are any.
        logits: outputs for ``x`` that the caller already has.
        index: example indices ``(N,)`` for adversaries that keep something for each example.
        policy: batch-norm policy of all passes made here.
    """

    def __init__(
        self,
        model: Model,
        x: Tensor,
        y: Tensor | None = None,
        *,
        logits: Tensor | None = None,
        index: Tensor | None = None,
        policy: str = "batch",
    ) -> None:
        if not torch.compiler.is_compiling() and torch.is_inference_mode_enabled():
            raise RuntimeError(
                "regularizers look for the worst perturbation with gradients; call them outside "
                "torch.inference_mode() (torch.no_grad() is fine)"
            )
        self.model = model
        # torch.compile has no double backward, no forward mode, and frees what a backward used.
        self.eager: Model = getattr(model, "_orig_mod", model)
        self.x = x
        self.y = y
        self.index = index
        self.policy = policy
        self.made_with = policy
        """The policy under which the outputs at hand were made."""
        self.mixed = torch.is_autocast_enabled(x.device.type)
        """Whether the caller runs under autocast."""
        self.state: RandomState | None = None
        self._moving: Moving | None = None
        self._session: Session | None = None
        """Of the outputs that were made to be differentiated twice."""
        self._linear: tuple[Tensor, Tensor] | None = None
        self._full: Tensor | None = None
        self._attached = logits
        self._detached: Tensor | None = None
        self._leaf: Tensor | None = None
        self.leaves: list[Tensor] = []
        """What was made here to differentiate in; nobody else wants its gradient."""
        self._gradients: dict[tuple[Hashable, bool], Tensor] = {}
        if logits is not None and (logits.dim() == 0 or len(logits) != len(x)):
            raise ValueError(
                f"logits must hold the outputs for the {len(x)} examples of x, "
                f"got shape {tuple(logits.shape)}"
            )

    @property
    def moving(self) -> Moving:
        """What a training pass would move in the model."""
        if self._moving is None:
            self._moving = Moving.of(self.model)
        return self._moving

    def with_policy(self, policy: str) -> CleanPass:
        """The same clean pass for a term whose further passes follow another policy."""
        other = copy(self)
        other.policy = policy
        if self.moving.normalizing and (policy == "running") != (self.made_with == "running"):
            # These outputs were normalized in another way: make them again, with the same draws.
            other.forget()
        return other

    def settle(self) -> None:
        """Keep outputs and gradients as constants and let go of their graph, which is used up."""
        if self._attached is not None:
            self._detached = self._attached.detach()
        self._attached = self._leaf = self._linear = self._session = None
        self._gradients = {(key, False): g.detach() for (key, _), g in self._gradients.items()}

    def forget(self) -> None:
        """Drop all outputs and gradients, but not the random state."""
        self.made_with = self.policy
        self._attached = self._detached = self._full = self._leaf = self._linear = None
        self._session = None
        self._gradients = {}

    def run_live(self, *, track_input: bool = False, twice: bool = False) -> Tensor:
        """The caller's own training pass: running statistics move, gradients are recorded.

        With ``track_input`` the outputs can be differentiated in the input, with ``twice`` also a
        second time.
        """
        self.made_with = "update"
        self.state = RandomState(self.x.device)
        self._leaf = self._new_leaf() if track_input else None
        leaf = self.x if self._leaf is None else self._leaf
        if twice:
            self._session = Session()
            with uncompiled(), differentiable_attention(), self._replaced(self._session):
                self._attached = tensor_of(self.eager(leaf), len(leaf))
        else:
            self._attached = tensor_of(self.model(leaf), len(leaf))
        return self._attached

    @property
    def attached_logits(self) -> Tensor:
        """Outputs whose graph reaches the model's parameters."""
        return self.attach() if self._attached is None else self._attached

    def attach(self, *, track_input: bool = False) -> Tensor:
        """Make the clean pass now, with its graph; ``track_input`` lets it reach the input too."""
        self._leaf = self._new_leaf() if track_input else None
        self._attached = outputs = self.again(self.x if self._leaf is None else self._leaf)
        return outputs

    @property
    def logits(self) -> Tensor:
        """Outputs as constants."""
        if self._attached is not None:
            return self._attached.detach()
        if self._detached is None:
            with torch.no_grad():
                self._detached = self.again(self.x)
        return self._detached

    @property
    def full_input(self) -> Tensor:
        """The inputs as constants, in full precision also under autocast."""
        return self.x.detach().float() if self.mixed else self.x.detach()

    @property
    def full_logits(self) -> Tensor:
        """Outputs as constants, computed in full precision also under autocast."""
        if not self.mixed:
            return self.logits
        if self._full is None:
            self._full = self.linearization()[1].detach()
        return self._full

    @property
    def can_linearize(self) -> bool:
        """Whether outputs with a graph in the input cost no pass that is not needed anyway."""
        if self.compiled and not self.mixed:
            return False
        untouched = self._attached is None and self._detached is None
        return self.mixed or untouched or self._linear is not None or self._tracked() is not None

    def linearization(self, tangent: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The input leaf and the clean outputs as a function of it, in full precision.

        With a ``tangent`` they are made anew as dual numbers (inside a forward-mode level), whose
        tangent is the outputs' response ``J t``.
        """
        tracked = self._tracked()
        if tangent is None and tracked is not None and not self.mixed:
            return tracked
        if tangent is not None or self._linear is None:
            forward = nullcontext() if tangent is None else differentiable_attention()
            with torch.enable_grad(), full_precision(self.x.device), forward:
                leaf = inputs = self.leaf_of(self.full_input.clone())
                if tangent is not None:
                    inputs = forward_ad.make_dual(leaf, tangent.to(leaf.dtype))
                outputs = self.again(inputs, eager=True)
            _require_graph(outputs)
            self._linear = (leaf, outputs)
            if self._attached is None and not self.mixed:
                self._detached = outputs.detach()
        return self._linear

    def forget_linearization(self) -> None:
        """Free the graph that :meth:`linearization` made for itself."""
        self._linear = None

    def _tracked(self) -> tuple[Tensor, Tensor] | None:
        if self._leaf is None or self._attached is None or not self._attached.requires_grad:
            return None
        if self.compiled:
            return None
        return self._leaf, self._attached

    @property
    def compiled(self) -> bool:
        """Whether the model is a compiled one."""
        return self.eager is not self.model

    def again(self, x: Tensor, *, eager: bool = False) -> Tensor:
        """Outputs for other inputs of the same shape: same dropout masks, no trace."""
        # Whichever pass comes first draws; all later ones draw the same again.
        replayed = nullcontext() if self.state is None else self.state.replayed()
        if self.state is None:
            self.state = RandomState(x.device)
        as_written = uncompiled() if eager else nullcontext()
        with self.moving.held(self.policy), replayed, comparable_attention(), as_written:
            return tensor_of((self.eager if eager else self.model)(x), len(x))

    def anew(self, x: Tensor, model: Model | None = None) -> Tensor:
        """Outputs for inputs of the same shape with draws of their own: other dropout masks.

        Args:
            x: the inputs.
            model: another network than the one at hand, as a teacher's.
        """
        moving = self.moving if model is None else Moving.of(model)
        with moving.held(self.policy), comparable_attention():
            return tensor_of((self.model if model is None else model)(x), len(x))

    def input_gradient(self, divergence: Divergence, *, create_graph: bool = False) -> Tensor:
        """``g = ∂ Σ_i D_i / ∂x`` at the clean input, of ``x``'s shape.

        The sum over the batch, so that ``g_i`` is the gradient of example i's own loss. With
        ``create_graph`` it can be differentiated again, and is computed in full precision.
        """
        if create_graph and _sharded(self.eager):
            raise RuntimeError(
                "the model's parameters are sharded (FSDP), which leaves nothing to differentiate "
                "a second time; of the regularizers VMT needs that, AT, VAT, MAT and MVAT do not"
            )
        key = divergence.key
        for with_graph in (True,) if create_graph else (False, True):
            if (key, with_graph) in self._gradients:
                found = self._gradients[key, with_graph]
                return found if create_graph else found.detach()
        with torch.enable_grad():
            gradient = None
            if not (create_graph and self.mixed):
                gradient = self._from_own_pass(divergence, create_graph)
            if gradient is None:
                gradient = self._from_new_pass(divergence, create_graph)
        self._gradients[key, create_graph] = gradient
        return gradient

    def require_leaf(self) -> Tensor:
        """The input that the live outputs can be differentiated in."""
        if self._leaf is None:
            raise RuntimeError("the live pass was made without track_input")
        return self._leaf

    def keep_gradient(self, divergence: Divergence, gradient: Tensor | None) -> None:
        """Remember the divergence's input gradient that the caller has computed."""
        self._gradients[divergence.key, False] = reached(gradient)

    def leaf_of(self, x: Tensor) -> Tensor:
        """The constant ``x`` itself, to be differentiated in; it gets no gradient of the loss."""
        self.leaves.append(x.requires_grad_())
        return x

    def own_leaf(self, *, full: bool = False) -> Tensor:
        """The inputs to differentiate in: x itself where a graph leads to it, as an encoder's.

        With ``full`` they are in full precision also under autocast.
        """
        x = self.x.float() if full and self.mixed else self.x
        return x if x.requires_grad else self.leaf_of(x.detach())

    def _new_leaf(self) -> Tensor:
        return self.own_leaf()

    def _from_own_pass(self, divergence: Divergence, create_graph: bool) -> Tensor | None:
        leaf = self.x if self._leaf is None and self.x.requires_grad else self._leaf
        if leaf is None or self._attached is None or not self._attached.requires_grad:
            return None
        total = divergence(self._attached, divergence.target(self._attached, self.y)).sum()
        scale = 1.0 if create_graph else self._loss_scale
        with nullcontext() if self._session is None else self._session.gradient_in_input():
            (gradient,) = torch.autograd.grad(
                _scaled(total, scale),
                leaf,
                retain_graph=True,
                create_graph=create_graph,
                allow_unused=True,
            )
        return _unscaled(gradient, scale)

    def _from_new_pass(self, divergence: Divergence, create_graph: bool) -> Tensor:
        leaf = self.own_leaf(full=True) if create_graph else self.leaf_of(self.x.detach())
        session = Session()
        with (
            full_precision(leaf.device) if create_graph else nullcontext(),
            differentiable_attention() if create_graph else nullcontext(),
        ):
            with self._replaced(session) if create_graph else nullcontext():
                logits = self.again(leaf, eager=create_graph)
            if self._attached is None and not self.mixed:
                self._detached = logits.detach()
            total = divergence(logits, divergence.target(logits, self.y)).sum()
            _require_graph(total)
            scale = 1.0 if create_graph else self._loss_scale
            with session.gradient_in_input():
                (gradient,) = torch.autograd.grad(
                    _scaled(total, scale), leaf, create_graph=create_graph, allow_unused=True
                )
        return reached(_unscaled(gradient, scale))

    def _replaced(self, session: Session) -> AbstractContextManager[Any]:
        """The model's layers replaced, where the batch is not too small for it to pay."""
        tiny = self.x.numel() < TINY or torch.compiler.is_compiling()
        return nullcontext() if tiny else TwiceDifferentiable(session)

    def slope(self, divergence: Divergence, x: Tensor, target: Tensor) -> Tensor:
        """``∂ Σ D / ∂x`` at another input, by one pass of its own."""
        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            total = divergence(self.again(leaf), target).sum()
            _require_graph(total)
            scale = self._loss_scale
            (gradient,) = torch.autograd.grad(_scaled(total, scale), leaf, allow_unused=True)
        return reached(_unscaled(gradient, scale))

    @property
    def _loss_scale(self) -> float:
        """What the loss is multiplied with on its way back to the input."""
        device = self.x.device.type
        half = self.x.dtype == torch.float16 or (
            self.mixed and torch.get_autocast_dtype(device) == torch.float16
        )
        return LOSS_SCALE if half else 1.0


def reached(gradient: Tensor | None) -> Tensor:
    """A gradient in the input, as ``torch.autograd.grad(..., allow_unused=True)`` gave it.

    Raises:
        ValueError: it is None: the way from the outputs is cut before it reaches the input.
    """
    if gradient is None:
        raise ValueError(_NO_GRAPH)
    return gradient


def _scaled(total: Tensor, scale: float) -> Tensor:
    return total if scale == 1 else scale * total


def _unscaled(gradient: Tensor | None, scale: float) -> Tensor | None:
    """The gradient of the loss itself, from that of ``scale`` times it."""
    if gradient is None or scale == 1:
        return gradient
    return gradient.float() / scale


def tensor_of(outputs: Any, rows: int) -> Tensor:
    """What a model returned for so many examples.

    Raises:
        TypeError: it is no tensor, as of many models of other libraries.
        ValueError: it does not have a row for each of them.
    """
    if not isinstance(outputs, Tensor):
        raise TypeError(
            f"model must return one tensor of outputs (N, classes, ...), got "
            f"{type(outputs).__name__}; give a function that picks it, as lambda x: "
            "model(x).logits, in place of the model"
        )
    if outputs.dim() == 0 or len(outputs) != rows:
        raise ValueError(
            f"model must return outputs (N, classes, ...) for the {rows} examples of its input, "
            f"got shape {tuple(outputs.shape)}"
        )
    return outputs


def _sharded(model: Model) -> bool:
    parameters = model.parameters() if isinstance(model, nn.Module) else ()
    return any(type(p).__name__ == "DTensor" for p in parameters)


def _require_graph(outputs: Tensor) -> None:
    if not outputs.requires_grad:
        raise ValueError(_NO_GRAPH)


def start(
    model: Model,
    x: Tensor,
    y: Tensor | None,
    logits: Tensor | None,
    index: Tensor | None,
    policy: str,
) -> CleanPass:
    """A checked :class:`CleanPass` for a regularizer called on its own."""
    if not callable(model):
        raise TypeError(f"model must be callable, got {type(model).__name__}")
    checks.inputs(x)
    return CleanPass(model, x, y, logits=logits, index=index, policy=policy)
