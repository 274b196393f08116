"""One run under way: its steps, and what is due between them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from .. import draws
from ..data import Dataset, Split
from ..data.seeds import seed_of
from .averages import average_of
from .clock import StepClock
from .compilation import compiled
from .config import TrainingConfig
from .feed import Feed, describe_data
from .folder import RunFolder
from .interruption import Interrupted, SignalWatch, StopEvaluation
from .logs import Logger
from .meter import Meter, NonFiniteError
from .modes import evaluation_mode
from .optimizers import build_optimizer, learning_rates
from .pace import Pace
from .progress import Progress
from .runtime import Runtime, on_main
from .state import RunState, describe_objective, first_not_finite, plain_settings

if TYPE_CHECKING:
    import signal

    from ..objective import Objective

__all__ = ["Evaluate", "Run", "Surroundings"]

Evaluate = Callable[[nn.Module, int], Mapping[str, float]]


@dataclass(frozen=True)
class Surroundings:
    """What a run talks to. Only the first of several processes has a folder, loggers, progress."""

    watch: SignalWatch
    pace: Pace
    saving: bool
    folder: RunFolder | None
    evaluate: Evaluate | None
    loggers: Sequence[Logger]
    progress: Progress | None


class Run:
    """The objects of a run and what is done with them.

    Attributes:
        step: number of steps done.
        history: one dict for each evaluation.
        clock: measures the steps.
        described: what a resumed run compares.
    """

    def __init__(
        self,
        objective: Objective,
        dataset: Dataset,
        split: Split,
        config: TrainingConfig,
        runtime: Runtime,
        settings: Mapping[str, Any],
        augment: Callable[[Tensor], Tensor] | None,
    ) -> None:
        self._objective, self._config, self._runtime = objective, config, runtime
        objective.to(runtime.device)
        if config.precision == "64":
            objective.double()
        if config.channels_last:
            _channels_last(objective.model)
        objective.train()
        self._feed = Feed(
            dataset, split, config, runtime.device, runtime.rank, runtime.world_size, augment
        )
        self._optimizer = build_optimizer(objective, config)
        self._set_rates = learning_rates(self._optimizer, config)
        self._trained = [p for group in self._optimizer.param_groups for p in group["params"]]
        self._clipped = [p for p in objective.model.parameters() if p.requires_grad]
        self._average = average_of(objective.model, config)
        # Its own report and passes are those of the run; state is read from the objective given.
        self._running = objective
        if config.compile:
            whole = runtime.world_size == 1 and config.precision in ("32", "64")
            self._running = compiled(objective, runtime.device, whole=whole)
        runtime.setup(self._running, self._optimizer)
        self._draws = augment is not None or len(objective.regularizers) > 0
        self._drawing = torch.Generator(device=runtime.device)
        self._meter = Meter(runtime.device)
        self.described = {
            "data": describe_data(dataset, split),
            "objective": describe_objective(objective),
            "settings": plain_settings(settings),
        }
        self._lr = 0.0
        self._kept: Path | None = None
        self.step = 0
        self._settled = 0
        """The step at which the average was last made ready to be evaluated."""
        self.history: list[dict[str, float]] = []
        self.clock = StepClock(runtime.device)
        self._state = RunState(
            objective, self._optimizer, self._average, runtime, self._meter, self.clock
        )

    @property
    def model(self) -> nn.Module:
        """What is evaluated and exported: the average of the weights where there is one."""
        return self._objective.model if self._average is None else self._average.model

    def restore(self, path: Path, content: Mapping[str, Any]) -> None:
        """Go on from a checkpoint.

        Raises:
            CheckpointError, ValueError: it is of another kind or of another run.
        """
        self._state.restore(path, content, self._config, self.described)
        self.step = content["step"]
        self.history = [dict(entry) for entry in content["history"]]
        self._lr = content["lr"]
        self._kept = path

    def go(self, around: Surroundings) -> None:
        """Do the steps that are left.

        Raises:
            Interrupted, NonFiniteError, CheckpointError: see :func:`unshaken.training.train`.
        """
        steps, progress, stop = self._config.steps, around.progress, None
        seen = self.history[-1]["step"] if self.history else 0
        if self._evaluates() and seen < self.step:
            stop = self._evaluate(around)  # a signal cut it short before the checkpoint
        self.clock.resume()
        while stop is None and self.step < steps:
            self._one_step()
            self.clock.tick()
            if progress is not None:
                progress.advance(self.step)
            if self.step % self._feed.steps_per_epoch == 0:
                self._objective.end_epoch()
            evaluates = self._evaluates()
            stop, save, bad = around.pace.after_step(self.step, self._meter.settle, must=evaluates)
            if bad is not None:
                raise self._feed.failure(bad, self._kept)
            if not (evaluates or save or stop):
                continue
            self.clock.pause()
            if evaluates and stop is None:
                stop = self._evaluate(around)
            if around.saving and (save or stop or self.step == steps):
                self._save(around)
            self.clock.resume()
        if stop is not None:
            raise Interrupted(stop, self.step, self._kept)

    def _one_step(self) -> None:
        runtime, step, times = self._runtime, self.step, self._config.accumulate
        self._lr = self._set_rates(step)
        for parameter in self._trained:
            parameter.grad = None
        for micro in range(times - 1):
            with runtime.without_sync():
                self._one_batch(step, micro)
        self._one_batch(step, times - 1)
        if self._config.clip is not None:
            runtime.unscale()
            nn.utils.clip_grad_norm_(self._clipped, self._config.clip)
        runtime.step()
        self.step = step + 1
        if self._average is not None:
            self._average.update(self._objective.model, self.step)

    def _one_batch(self, step: int, micro: int) -> None:
        runtime = self._runtime
        if self._draws:
            # Seeded anew for each batch: draws are a pure function of (seed, step) as the batches
            # are, so that no process can fall out of step with the others, however a run resumed.
            self._drawing.manual_seed(seed_of("draws", self._config.seed, step, micro))
            with draws.shared(self._drawing, runtime.rank, runtime.world_size):
                loss = runtime.loss(self._feed.batch(step, micro))
        else:
            loss = runtime.loss(self._feed.batch(step, micro))
        bad = self._meter.add(step, micro, loss, self._running.report)
        # Several processes stop together, at the next agreement.
        if bad is not None and runtime.world_size == 1:
            raise self._feed.failure(bad, self._kept)
        times = self._config.accumulate
        runtime.backward(loss if times == 1 else loss / times)

    def _evaluates(self) -> bool:
        every = self._config.evaluate_every
        return self.step == self._config.steps or (every > 0 and self.step % every == 0)

    def _evaluate(self, around: Surroundings) -> signal.Signals | None:
        """Append to the history; returns the signal that cut it short, if one did."""
        measured: Mapping[str, float] | None = {}
        self._settle_average()
        if self._runtime.rank == 0 and around.evaluate is not None:
            try:
                with around.watch.evaluating(), evaluation_mode(self.model, self._runtime.device):
                    measured = around.evaluate(self.model, self.step) or {}
            except StopEvaluation:
                measured = None
        mine = (measured, around.watch.received, self._meter.means())
        everyone = self._runtime.gather(mine)
        measured, received, terms = everyone[0]
        if measured is None:
            return received
        entry: dict[str, float] = {
            "step": self.step,
            "epoch": self.step / self._feed.steps_per_epoch,
            "lr": self._lr,
        }
        for name in terms:
            entry[name] = sum(means[name] for _, _, means in everyone) / len(everyone)
        entry.update({name: float(value) for name, value in measured.items()})
        self._meter.reset()
        self.history.append(entry)
        metrics = {name: value for name, value in entry.items() if name != "step"}
        for logger in around.loggers:
            logger.log(self.step, metrics)
        if around.progress is not None:
            around.progress.evaluated(self.step, metrics)
        return None

    def _settle_average(self) -> None:
        if self._average is not None and self._settled != self.step:
            with evaluation_mode(self.model, self._runtime.device):
                self._average.settle(self._feed.some_inputs())
            self._settled = self.step

    def _save(self, around: Surroundings) -> None:
        begin = time.monotonic()
        self._settle_average()
        name = first_not_finite(self._objective)
        if name is not None:
            raise NonFiniteError(
                "a weight became NaN or infinite",
                step=self.step,
                terms=(name,),
                checkpoint=self._kept,
            )
        content = {
            **self._state.capture(self._config, self.described),
            "step": self.step,
            "history": self.history,
            "lr": self._lr,
        }

        def write() -> Path | None:
            folder = around.folder
            return None if folder is None else folder.save(self.step, content, self._config.keep)

        self._kept = on_main(self._runtime, write)
        around.pace.saved(time.monotonic() - begin)


def _channels_last(model: nn.Module) -> None:
    for parameter in model.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
