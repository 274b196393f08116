"""``unshaken train``: one classifier, one method."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from unshaken.cli.chosen import check_method, protocol_of, settings_of, steps_of, with_steps
from unshaken.cli.output import print_json


def train(
    data: str = "digits",
    method: str = "vat",
    labels: int | None = None,
    epochs: int | None = None,
    steps: int | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    out: str = "run",
    resume: bool = False,
    model: str | None = None,
    training: dict[str, Any] | None = None,
    settings: dict[str, Any] | None = None,
    normalize: str | None = None,
    augment: str | None = None,
    validation: int | None = None,
    download: bool = False,
    threads: int | None = None,
    device: str | None = None,
    quiet: bool = False,
    json: bool = False,
) -> int:
    """Train one classifier with one method; checkpoints, weights and a report stay in a folder.

    Args:
        data: a data set's name, a folder of images, an .npz file, or hub:OWNER/NAME; the names are
            digits, moons, circles, sinusoids, mnist, svhn, cifar10, cifar100
        method: a method's name, or several joined by +; as vat+vmt-shift
        labels: how many labels are shown; as the data's protocol says (or all) unless given
        epochs: how often each training example is seen; instead of --steps
        steps: optimizer steps; as the data's protocol says unless given
        batch_size: labeled examples in a batch
        seed: decides split, weights, batches and draws
        out: folder that the run fills; with checkpoints/, model.safetensors, summary.json and
            report.html
        resume: go on from the newest checkpoint in the folder; with none there, start anew
        model: a network's name, or an import path package.module:function; the names are mlp,
            conv_tiny, conv_small, conv_large, moons_mlp
        training: more of the training, as --training.lr 0.001 --training.ema 0.99
        settings: settings of the method, as --settings.radius 0.5; of a joined one
            --settings.vat.radius 0.5
        normalize: none, unit, centered, standard or zca; the data's own unless given
        augment: what is done to each training batch, as shift:2,flip or none; as the data's
            protocol says unless given
        validation: hold out so many training examples and measure the error on them
        download: fetch published data that are missing
        threads: threads of PyTorch; one for a small network unless given
        device: cpu, cuda or cuda:N; a GPU where there is one unless given
        quiet: show no progress
        json: print the summary as one JSON object; progress stays on the error output
    """
    check_method("--method", method)
    by_method = settings_of([method], settings)
    protocol = protocol_of(
        data,
        labels=labels,
        validation=validation,
        model=model,
        training=training,
        normalize=normalize,
        augment=augment,
        batch_size=batch_size,
        steps=steps,
    )
    _check(seed, epochs, steps, threads)
    folder = Path(out)
    first = os.environ.get("RANK", "0") == "0"  # of several processes the first one reports
    if first:
        _check_folder(folder, resume)

    from unshaken.comparison.checking import check
    from unshaken.comparison.compare import summarize
    from unshaken.comparison.single import Loader, run
    from unshaken.training import progress_for

    load = Loader(download=download)
    dataset = load(protocol, seed)
    if epochs is not None:
        protocol = with_steps(protocol, steps_of(protocol, dataset, epochs, seed))
    check(protocol, [method], by_method, dataset, seed)
    record = run(
        protocol,
        method,
        seed,
        by_method,
        pictures=folder / "pictures" if first else None,
        out=folder,
        resume=resume,
        progress=progress_for(quiet=quiet),
        threads=threads,
        device=device,
        load=load,
    )
    if not first:
        return 0
    for alarm in record["alarms"]:
        print(f"unshaken: {alarm}", file=sys.stderr)
    summary = summarize(protocol, dataset, [method], [record], folder, threads=threads)
    if json:
        print_json(summary)
        return 0
    print(
        f"{method} on {data}: {record['error']:.2f} % {protocol.judge} error after "
        f"{record['steps']} steps; report in {folder / 'report.html'}"
    )
    return 0


def _check(seed: int, epochs: int | None, steps: int | None, threads: int | None) -> None:
    from unshaken import checks
    from unshaken.cli.values import Mistake

    checks.integer(seed, "seed", low=0)
    if epochs is not None and steps is not None:
        raise Mistake(f"--epochs and --steps both say how long: got {epochs} and {steps}")
    if threads is not None:
        checks.integer(threads, "threads")


def _check_folder(folder: Path, resume: bool) -> None:
    """What would stop the run at its first checkpoint is said before the data are loaded."""
    from unshaken.cli.values import Mistake
    from unshaken.comparison.folder import require_no_other
    from unshaken.training.checkpoint import checkpoints

    require_no_other(folder, "a training run")
    found = checkpoints(folder / "checkpoints")
    if found and not resume:
        raise Mistake(
            f"--out: {folder} already holds a run (newest checkpoint {found[-1].name}); add "
            "--resume to go on with it, or name another folder"
        )
    try:
        (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
        (folder / ".writable").touch()
        (folder / ".writable").unlink()
    except OSError as error:
        raise Mistake(
            f"--out must be a folder that can be written, got {str(folder)!r}: {error.strerror}"
        ) from error
