"""The training loop: the same few lines for a demo of a second and a run of days."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..data import Dataset, Split
from .checkpoint import read_checkpoint
from .config import TrainingConfig
from .folder import RunFolder
from .interruption import SignalWatch
from .logs import JsonLines, Logger
from .modes import modes_kept
from .pace import Pace
from .progress import Progress
from .run import Evaluate, Run, Surroundings
from .runtime import Runtime, make_runtime, on_main
from .state import seed_random_state
from .weights import save_model_weights

if TYPE_CHECKING:
    from ..objective import Objective

__all__ = ["Evaluate", "Result", "train"]

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Result:
    """What a run gave.

    Attributes:
        history: one dict for each evaluation: ``step``, ``epoch``, ``lr``, the means since the
            one before of ``loss`` and of each term of the objective's report, and what
            ``evaluate`` returned.
        seconds_per_step: median training time of a step, without evaluations and checkpoints:
            CPU time on the CPU, wall time on a GPU.
        steps: number of steps done, in earlier processes too.
        model: the trained model; the average of the weights where ``ema`` is on.
        resumed_from: the checkpoint this run went on from, or None.
    """

    history: list[dict[str, float]]
    seconds_per_step: float
    steps: int
    model: nn.Module = field(repr=False)
    resumed_from: Path | None = None


def train(
    objective: Objective,
    dataset: Dataset,
    split: Split,
    config: TrainingConfig,
    *,
    out: Path | str | None = None,
    resume: bool = False,
    evaluate: Evaluate | None = None,
    loggers: Sequence[Logger] = (),
    progress: Progress | None = None,
    device: str | torch.device | None = None,
    settings: Mapping[str, Any] | None = None,
    augment: Callable[[Tensor], Tensor] | None = None,
) -> Result:
    """Minimize an objective on the labeled and unlabeled examples of a split.

    Each step draws one batch from the labeled and, with ``unlabeled_batch_size``, one from the
    unlabeled stream and takes one optimizer step on ``objective(x, y, unlabeled=, index=)``. All
    random numbers come from ``config.seed``; the caller's global random state and the modules'
    training flags are as before when this returns or raises. The objective stays on the device.

    Under ``torchrun`` every process takes its share of the same batches and gradients are
    averaged, so the number of processes does not change the result, except through what depends
    on the share itself: batch-norm statistics (those of the first process are kept), random draws
    (dropout, random directions) and terms that are no mean over examples (class balance).

    Args:
        objective: the model and its regularizers; trained in place.
        dataset: examples in memory.
        split: which of them are labeled and unlabeled.
        config: everything the result depends on.
        out: the run's folder, for checkpoints, ``metrics.jsonl``, ``config.json``, the data's
            ``normalization.safetensors`` and the trained weights ``model.safetensors``; None keeps
            nothing.
        resume: go on from the newest whole checkpoint in ``out``, to the very numbers of a run
            that was never stopped; without one, start anew.
        evaluate: called as ``evaluate(model, step)`` in evaluation mode, with random state of
            its own, every ``evaluate_every`` steps and at the end; returns metrics by name.
        loggers: receive each evaluation; closed at the end.
        progress: shows how far the run is, see :func:`progress_for`; None shows nothing.
        device: ``"cpu"``, ``"cuda"`` or ``"cuda:N"``; None takes a GPU where there is one.
        settings: plain values that describe the run beyond ``config`` (method, network); kept in
            ``config.json`` and checkpoints, and compared when resuming.
        augment: changes each batch of inputs on the device, labeled and unlabeled ones, drawing
            from :mod:`unshaken.draws`; for example :func:`unshaken.data.augment`.

    Raises:
        Interrupted: SIGTERM or SIGINT came; a checkpoint was written.
        NonFiniteError: the loss or a weight became NaN or infinite; the sentence names the step,
            the term and the batch, and the last good checkpoint is kept.
        CheckpointError: the folder cannot be written, is in use, holds a run although ``resume``
            is False, or holds no checkpoint that can be read.
        ValueError: resumed with other settings, data or regularizers than the run began with, or
            a batch size is not divisible by the number of processes.
    """
    if resume and out is None:
        raise ValueError("resume=True needs out=, the folder of the run to go on with")
    runtime = make_runtime(config, device)
    if runtime.rank != 0:
        loggers, progress = (), None
    with ExitStack() as stack:
        for logger in loggers:
            stack.callback(logger.close)
        stack.enter_context(modes_kept(objective))
        gpus = [runtime.device] if runtime.device.type == "cuda" else []
        stack.enter_context(torch.random.fork_rng(devices=gpus))
        seed_random_state(config.seed, runtime.rank)
        watch = stack.enter_context(SignalWatch())
        folder = None
        if out is not None:
            folder = _open_folder(runtime, out, resume)
        if folder is not None:
            stack.callback(folder.close)

        run = Run(objective, dataset, split, config, runtime, settings or {}, augment)
        resumed = _resume(run, runtime, folder, progress) if resume else None
        if folder is not None:
            if dataset.normalization is not None:
                folder.keep(dataset.normalization)
            folder.describe({"config": config.to_dict(), **run.described})
            loggers = [JsonLines(folder.metrics, run.history), *loggers]
        if progress is not None:
            progress.start(run.step, config.steps)
            stack.callback(progress.close)
        saving = out is not None
        pace = Pace(config, runtime, watch, saving=saving)
        run.go(Surroundings(watch, pace, saving, folder, evaluate, loggers, progress))
        if folder is not None:
            save_model_weights(run.model, folder.weights)
    return Result(run.history, run.clock.seconds_per_step(), run.step, run.model, resumed)


def _open_folder(runtime: Runtime, out: Path | str, resume: bool) -> RunFolder | None:
    """The folder in the first process, None in the others."""
    opened: list[RunFolder] = []
    on_main(runtime, lambda: opened.append(RunFolder(out, resume=resume)))
    return opened[0] if opened else None


def _resume(
    run: Run, runtime: Runtime, folder: RunFolder | None, progress: Progress | None
) -> Path | None:
    found: tuple[Path, dict[str, Any]] | None = None

    def find() -> Path | None:
        nonlocal found
        found = None if folder is None else folder.find()
        return None if found is None else found[0]

    path = on_main(runtime, find)
    if path is None:
        _say("nothing to resume: starting anew", progress)
        return None
    # The other processes read the same file; several machines have to share the folder.
    run.restore(path, read_checkpoint(path) if found is None else found[1])
    _say(f"resuming from {path} after step {run.step}", progress)
    return path


def _say(sentence: str, progress: Progress | None) -> None:
    _LOG.info(sentence)
    if progress is not None:
        progress.say(sentence)
