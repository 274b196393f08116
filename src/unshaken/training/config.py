"""What a training run is told: every number that its result depends on."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from .. import checks
from .schedules import learning_rate_factor, swa_steps

__all__ = ["TrainingConfig"]

Optimizer = Literal["adam", "adamw", "sgd"]
Precision = Literal["32", "64", "bf16", "16"]
Shape = Literal["linear", "sigmoid"]

# Fields that say when something is written or looked at; no weight depends on them.
_FREE = frozenset({"evaluate_every", "checkpoint_every", "checkpoint_seconds", "keep"})


@dataclass(frozen=True)
class TrainingConfig:
    """Settings of one run, checked when made.

    Batches, random draws and therefore all results are a pure function of these settings, the
    data and the objective (on one machine and one library version). The number of processes
    enters only by rounding, and through what a network does in each of them by itself: batch
    norm's statistics and dropout's draws.

    Raises:
        TypeError, ValueError: a value is not what its field expects; the sentence names the field.
    """

    steps: int
    """Number of optimizer steps."""
    batch_size: int
    """Labeled examples in a batch, over all processes together."""
    unlabeled_batch_size: int = 0
    """Examples in a batch of the unlabeled stream; 0 trains on the labeled stream alone."""
    optimizer: Optimizer = "adam"
    """adam, adamw (decoupled weight decay) or sgd."""
    lr: float = 1e-3
    """Learning rate of the model at factor 1 of the schedule."""
    momentum: float = 0.9
    """Momentum of sgd; adam and adamw do not use it."""
    weight_decay: float = 0.0
    """Weight decay of the model's parameters."""
    decay_norms: bool = True
    """Whether biases and normalization parameters (one dimension or none) are decayed too."""
    decay_adversaries: bool = False
    """Whether the parameters of learned adversaries are decayed too."""
    schedule: str = "constant"
    """constant, linear:F (to zero from fraction F on), exponential:RATE:PERIOD, cosine, or
    cyclic:F:PERIOD (a cosine that from fraction F on repeats its last PERIOD steps; below 1 it is
    a share of the run)."""
    warmup: int = 0
    """Steps over which the learning rate ramps up."""
    warmup_shape: Shape = "linear"
    """linear, or sigmoid: exp(-5 (1 - t)^2)."""
    ema: float | None = None
    """Decay of the average of the weights that is evaluated and exported; None: no average."""
    swa: str | None = None
    """F:PERIOD, to evaluate and export the mean of the weights after every PERIOD steps (below 1
    a share of the run) from fraction F of the run on, with batch norm's statistics made anew;
    None: no such mean."""
    clip: float | None = None
    """Largest 2-norm of the model's gradient; None: not clipped."""
    accumulate: int = 1
    """Batches whose gradients are averaged in each step."""
    precision: Precision = "32"
    """32 or 64 (all arithmetic), bf16 or 16 (mixed with float32)."""
    compile: bool = False
    """Run whole steps as compiled code (torch.compile); it takes seconds to minutes to begin and
    pays in long runs, of small networks above all. Networks with dropout, several processes and
    mixed precision compile the network alone, not with terms that differentiate twice through it,
    as VMT."""
    channels_last: bool = False
    """Keep images and convolutions with the channels innermost in memory: faster for many
    convolutional networks, on GPUs in half precision above all; other inputs stay as they are."""
    seed: int = 0
    """Seed of the batches and of all random numbers drawn while training."""
    evaluate_every: int = 0
    """Steps between evaluations; 0: at the end only."""
    checkpoint_every: int | None = None
    """Steps between checkpoints."""
    checkpoint_seconds: float | None = None
    """Seconds between checkpoints. With neither period given, checkpoints take about 2 % of the
    time, at least a second apart."""
    keep: int = 3
    """How many of the newest checkpoints are kept."""

    def __post_init__(self) -> None:
        for name, low in (
            ("steps", 1),
            ("batch_size", 1),
            ("unlabeled_batch_size", 0),
            ("warmup", 0),
            ("accumulate", 1),
            ("seed", 0),
            ("evaluate_every", 0),
            ("keep", 1),
        ):
            checks.integer(getattr(self, name), name, low=low)
        if self.checkpoint_every is not None:
            checks.integer(self.checkpoint_every, "checkpoint_every")
        checks.number(self.lr, "lr", low=0.0)
        checks.number(self.weight_decay, "weight_decay", low=0.0)
        _below_one(self.momentum, "momentum")
        if self.ema is not None:
            _below_one(self.ema, "ema")
        if self.swa is not None:
            swa_steps(self.swa, self.steps)
            if self.ema is not None:
                raise ValueError(
                    f"ema and swa are two averages of the weights; got ema={self.ema!r} and "
                    f"swa={self.swa!r}, give one of them"
                )
        if self.clip is not None:
            checks.number(self.clip, "clip", low=0.0, open_low=True)
        if self.checkpoint_seconds is not None:
            checks.number(self.checkpoint_seconds, "checkpoint_seconds", low=0.0)
        for name, options in (
            ("optimizer", get_args(Optimizer)),
            ("warmup_shape", get_args(Shape)),
            ("precision", get_args(Precision)),
            ("decay_norms", (True, False)),
            ("decay_adversaries", (True, False)),
            ("compile", (True, False)),
            ("channels_last", (True, False)),
        ):
            checks.choice(getattr(self, name), name, options)
        learning_rate_factor(self.schedule, self.steps)

    def to_dict(self) -> dict[str, Any]:
        """All fields as plain values, as JSON and checkpoints hold them."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainingConfig:
        """The inverse of :meth:`to_dict`; fields that are missing take their default.

        Raises:
            ValueError: a field is unknown, or one without a default is missing.
        """
        fields = {field.name: field for field in dataclasses.fields(cls)}
        for name in values:
            if name not in fields:
                near = difflib.get_close_matches(str(name), fields, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise ValueError(f"TrainingConfig has no field {name!r}{hint}")
        for name, field in fields.items():
            if field.default is dataclasses.MISSING and name not in values:
                raise ValueError(f"TrainingConfig needs the field {name!r}")
        return cls(**values)

    def difference(self, other: TrainingConfig) -> str | None:
        """Name of the first field that differs and on which the result depends, or None.

        ``evaluate_every``, ``checkpoint_every``, ``checkpoint_seconds`` and ``keep`` may differ:
        a run may be resumed with other ones.
        """
        for field in dataclasses.fields(self):
            if field.name not in _FREE and getattr(self, field.name) != getattr(other, field.name):
                return field.name
        return None


def _below_one(value: Any, name: str) -> None:
    checks.number(value, name, low=0.0)
    if value >= 1:
        raise ValueError(f"{name} must be in [0, 1), got {value!r}")
