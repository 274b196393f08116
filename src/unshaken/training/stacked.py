"""Several runs that differ in their seeds, trained as one: the numbers of each are its own."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from contextlib import ExitStack

import torch
from torch import Tensor, nn

from .. import draws
from ..autograd import drops_out
from ..data.seeds import seed_of
from ..models import unstack
from ..models.stacked_layers import StackedDropout
from ..objective import Objective
from ..regularizer import Term
from ..stacking import StackedAlarm, stack_objectives, unstack_objectives
from .averages import average_of
from .clock import StepClock
from .compilation import compiled
from .config import TrainingConfig
from .feed import Feed
from .interruption import Interrupted, SignalWatch, StopEvaluation
from .loop import Result
from .members import Member, Trained, alike, can_stack
from .meter import Meter, NonFiniteError
from .modes import evaluation_mode, modes_kept
from .optimizers import build_optimizer, learning_rates
from .stacked_feed import StackedFeed

__all__ = ["Member", "Trained", "can_stack", "stack_for", "train_stacked"]

_CPU = torch.device("cpu")


def stack_for(objectives: Sequence[Objective], config: TrainingConfig) -> Objective | None:
    """The objective of all of them at once; None where one cannot be made or trained so.

    Args:
        objectives: those of the runs, see :func:`unshaken.stacking.stack_objectives`.
        config: of any of the runs.
    """
    stacked = stack_objectives(objectives)
    if stacked is not None and config.compile and drops_out(stacked.model):
        return None  # compiled code cannot draw each run's own masks
    return stacked


def train_stacked(
    members: Sequence[Member], *, augment: Callable[[Tensor], Tensor] | None = None
) -> list[Trained] | None:
    """Train all runs at once on the CPU, each step with one batched product for each layer.

    Batches and draws are what each run has alone, and so are weights and records but for the
    rounding of each step, which a long training may magnify. A run whose loss is no longer finite
    ends, the others go on.

    Args:
        members: runs of one method, one architecture and one shape of data, whose settings differ
            in the seed only; their objectives, which are trained in place, may differ as
            :func:`unshaken.stacking.stack_objectives` says.
        augment: as in :func:`unshaken.training.train`.

    Returns:
        What became of each; None where they cannot be trained as one. Then none is trained.

    Raises:
        Interrupted: SIGTERM or SIGINT came.
    """
    if not alike(members):
        return None
    first = members[0].config
    with ExitStack() as stack:
        for member in members:
            stack.enter_context(modes_kept(member.objective))
            member.objective.to(_CPU).train()
            if first.precision == "64":
                member.objective.double()
        stacked = stack_for([member.objective for member in members], first)
        if stacked is None:
            return None
        stack.enter_context(torch.random.fork_rng(devices=[]))
        watch = stack.enter_context(SignalWatch())
        return _Stack(stacked, members, augment, watch).go()


class _Stack:
    """The objects of all runs and what is done with them."""

    def __init__(
        self,
        stacked: Objective,
        members: Sequence[Member],
        augment: Callable[[Tensor], Tensor] | None,
        watch: SignalWatch,
    ) -> None:
        self._objective, self._members, self._watch = stacked, members, watch
        config = self._config = members[0].config
        stacked.train()
        self._feeds = [Feed(m.dataset, m.split, m.config, _CPU) for m in members]
        datasets = [member.dataset for member in members]
        terms = [term for term in stacked.regularizers if isinstance(term, Term)]
        idle = all(term.labeled for term in terms)
        self._batches = StackedFeed(self._feeds, datasets, config, augment, idle=idle)
        self._optimizer = build_optimizer(stacked, config)
        self._set_rates = learning_rates(self._optimizer, config)
        self._trained = [p for group in self._optimizer.param_groups for p in group["params"]]
        self._average = average_of(stacked.model, config)
        self._running = compiled(stacked, _CPU) if config.compile else stacked
        self._shown = [m.objective.model for m in members]
        if self._average is not None:
            self._shown = [copy.deepcopy(model) for model in self._shown]
        self._draws = augment is not None or len(stacked.regularizers) > 0
        self._drawing = [torch.Generator() for _ in members]
        seeds = [member.config.seed for member in members]
        self._ambient = [torch.Generator().manual_seed(seed_of("training", s, 0)) for s in seeds]
        # Where no layer draws, states that never move need not be kept and put back.
        layers = any(isinstance(layer, StackedDropout) for layer in stacked.modules())
        self._layers_draw = self._ambient if layers else []
        self._meters = [Meter(_CPU) for _ in members]
        self._histories: list[list[dict[str, float]]] = [[] for _ in members]
        self._failures: list[NonFiniteError | None] = [None for _ in members]
        self._clock = StepClock(_CPU)

    def go(self) -> list[Trained]:
        config = self._config
        self._clock.resume()
        for step in range(config.steps):
            lr = self._one_step(step)
            self._clock.tick()
            done = step + 1
            if done % self._feeds[0].steps_per_epoch == 0:
                self._running.end_epoch()
            every = config.evaluate_every
            if self._watch.received is None and all(self._failures):
                break
            if done == config.steps or (every > 0 and done % every == 0):
                self._clock.pause()
                self._evaluate(done, lr)
                self._clock.resume()
            if self._watch.received is not None:
                raise Interrupted(self._watch.received, done, None)
        unstack_objectives(self._objective, [member.objective for member in self._members])
        return [self._outcome(k) for k in range(len(self._members))]

    def _one_step(self, step: int) -> float:
        times = self._config.accumulate
        lr = self._set_rates(step)
        for parameter in self._trained:
            parameter.grad = None
        for micro in range(times):
            if self._draws:
                for generator, member in zip(self._drawing, self._members, strict=True):
                    generator.manual_seed(seed_of("draws", member.config.seed, step, micro))
            with draws.grouped(self._drawing, self._layers_draw):
                batch = self._batches.batch(step, micro)
                loss: Tensor = self._running(
                    batch.x,
                    batch.y,
                    unlabeled=batch.unlabeled,
                    index=batch.index,
                    labeled_index=batch.labeled_index,
                )
            self._note(step, micro)
            (loss if times == 1 else loss / times).backward()
        self._optimizer.step()
        if self._average is not None:
            self._average.update(self._objective.model, step + 1)
        return lr

    def _note(self, step: int, micro: int) -> None:
        report = {k: v.reshape(-1).tolist() for k, v in self._running.report.items()}
        for k, meter in enumerate(self._meters):
            if self._failures[k] is None:
                bad = meter.take(step, micro, {name: values[k] for name, values in report.items()})
                if bad is not None:
                    self._failures[k] = self._feeds[k].failure(bad)

    def _evaluate(self, step: int, lr: float) -> None:
        source = self._objective.model if self._average is None else self._average.model
        unstack(source, self._shown)
        for k, (member, model) in enumerate(zip(self._members, self._shown, strict=True)):
            if self._failures[k] is not None:
                continue
            measured = self._measured(member, model, self._ambient[k], step)
            if measured is None:
                return
            entry: dict[str, float] = {
                "step": step,
                "epoch": step / self._feeds[k].steps_per_epoch,
                "lr": lr,
                **self._meters[k].means(),
                **measured,
            }
            self._meters[k].reset()
            self._histories[k].append(entry)

    def _measured(
        self, member: Member, model: nn.Module, ambient: torch.Generator, step: int
    ) -> dict[str, float] | None:
        """What the run's own evaluation says; None where a signal cut it short."""
        if member.evaluate is None:
            return {}
        try:
            with self._watch.evaluating(), evaluation_mode(model, _CPU):
                torch.set_rng_state(ambient.get_state())
                found = member.evaluate(model, step) or {}
        except StopEvaluation:
            return None
        return {name: float(value) for name, value in found.items()}

    def _outcome(self, k: int) -> Trained:
        alarm = self._objective.alarm
        said = alarm.sentences[k] if isinstance(alarm, StackedAlarm) else []
        reached = alarm.each_reached[k] if isinstance(alarm, StackedAlarm) else {}
        if self._failures[k] is not None:
            return Trained(failure=self._failures[k], alarms=said)
        seconds = self._clock.seconds_per_step()
        result = Result(self._histories[k], seconds, self._config.steps, self._shown[k])
        return Trained(result, alarms=said, reached=reached)
