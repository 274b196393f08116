"""The runs of a stack: what each is given, what became of it, and which may be together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ..alarm import Reached
from ..data import Dataset, Split
from ..data.paged import Paged
from ..objective import Objective
from .config import TrainingConfig
from .loop import Evaluate, Result
from .meter import NonFiniteError

__all__ = ["Member", "Trained", "alike", "can_stack"]


@dataclass(frozen=True)
class Member:
    """One run of a stack: what :func:`unshaken.training.train` takes for it alone."""

    objective: Objective
    dataset: Dataset
    split: Split
    config: TrainingConfig
    evaluate: Evaluate | None = None


@dataclass
class Trained:
    """What became of one run.

    Attributes:
        result: as :func:`unshaken.training.train` gives it; ``seconds_per_step`` is that of the
            whole stack. None where the run failed.
        failure: the loss became NaN or infinite; the sentence is that of the run alone.
        alarms: what the objective's alarm has said.
        reached: how far each term's adversary came, and random, by name.
    """

    result: Result | None = None
    failure: NonFiniteError | None = None
    alarms: list[str] = field(default_factory=list)
    reached: Mapping[str, Reached] = field(default_factory=dict)


def can_stack(config: TrainingConfig) -> bool:
    """Whether runs with these settings can be trained as one.

    They cannot with mixed precision, whose loss scale all would share, with gradients clipped by a
    norm that all would share, or with averages whose batch norm wants passes of its own.
    """
    plain = config.precision in ("32", "64") and not config.channels_last
    return plain and config.clip is None and config.swa is None


def alike(members: Sequence[Member]) -> bool:
    """Whether settings and sizes of data allow the runs to be trained as one."""
    first = members[0].config
    if not can_stack(first) or any(replace(m.config, seed=first.seed) != first for m in members):
        return False
    if any(isinstance(m.dataset.x_all, Paged) for m in members):
        return False
    return len({_sizes(member) for member in members}) == 1


def _sizes(member: Member) -> tuple[object, ...]:
    dataset, split = member.dataset, member.split
    examples = (dataset.x_all.shape, dataset.y_train.shape)
    return (*examples, split.labeled.shape, split.unlabeled.shape)
