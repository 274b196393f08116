"""Kills real training processes and compares what they leave with a run that was not killed.

    python -m tests.training.survival FOLDER KILLS SEED

Prints one JSON object. Children are forked from this process, which has imported everything and
trained nothing, so that each is a process of its own and starts at once.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import IO, Any

import torch

from tests.training.helpers import accuracy, assert_same, noise, objective
from unshaken.training import TrainingConfig, latest, train

# Every moment of writing a checkpoint, in their order.
MOMENTS = ["half written", "before fsync", "before rename", "before folder fsync", "before prune"]


def settings(seed: int) -> TrainingConfig:
    return TrainingConfig(
        steps=100,
        batch_size=4,
        unlabeled_batch_size=8,
        lr=1e-2,
        schedule="linear:0.5",
        ema=0.9,
        clip=1.0,
        accumulate=2,
        evaluate_every=10,
        checkpoint_every=4,
        keep=2,
        seed=seed,
    )


def run(folder: Path, seed: int) -> None:
    dataset, split = noise()
    train(
        objective(),
        dataset,
        split,
        settings(seed),
        out=folder,
        resume=True,
        evaluate=accuracy,
        device="cpu",
    )


def fork(work: Callable[[], None]) -> int:
    child = os.fork()
    if child:
        return child
    try:
        work()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def finish(child: int) -> bool:
    """Wait for the child; whether a kill ended it. Any other failure is an error."""
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return True
    if os.WEXITSTATUS(status):
        raise RuntimeError("a training process failed")
    return False


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def dying(moment: str, checkpoint: int, work: Callable[[], None]) -> None:
    """Do ``work`` with the process killing itself while it writes checkpoint ``checkpoint``."""
    from unshaken.training import atomic, folder

    count = 0
    save, fsync, replace, prune = torch.save, os.fsync, os.replace, folder.prune
    sync_folder = atomic._sync_folder

    def now(name: str) -> bool:
        return name == moment and count == checkpoint

    def counted_save(content: Any, file: IO[bytes]) -> None:
        nonlocal count
        count += 1
        if now("half written"):
            write, left = file.write, 3

            def short(data: bytes) -> int:
                nonlocal left
                left -= 1
                if left == 0:
                    write(bytes(data)[: len(data) // 2])
                    file.flush()
                    die()
                return write(data)

            file.write = short
        save(content, file)

    def at(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def stopped(*arguments: Any) -> Any:
            if now(name):
                die()
            return original(*arguments)

        return stopped

    torch.save = counted_save
    atomic.os = _Patched(fsync=at("before fsync", fsync), replace=at("before rename", replace))
    atomic._sync_folder = at("before folder fsync", sync_folder)
    folder.prune = at("before prune", prune)
    work()


class _Patched:
    """The module ``os`` with some functions replaced."""

    def __init__(self, **functions: Callable[..., Any]) -> None:
        self.__dict__.update(functions)

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)


def compare(expected: Path, killed: Path) -> None:
    for name in ("model.safetensors", "metrics.jsonl", "config.json"):
        assert (expected / name).read_bytes() == (killed / name).read_bytes(), (killed, name)
    states = []
    for folder in (expected, killed):
        found = latest(folder / "checkpoints")
        assert found is not None
        found[1].pop("clock")
        states.append(found[1])
    assert_same(*states)
    leftovers = [path for path in killed.rglob("*") if "partial" in path.name]
    assert not leftovers, leftovers


def reference(folder: Path, seed: int) -> tuple[Path, float]:
    begin = time.monotonic()
    path = folder / f"reference-{seed}"
    assert not finish(fork(partial(run, path, seed)))
    return path, time.monotonic() - begin


def main() -> None:
    folder, kills, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(1)
    # The first optimizer of a process imports for a second: once here, not in each child.
    torch.optim.Adam([torch.zeros(1, requires_grad=True)])
    chance = random.Random(seed)

    expected, _ = reference(folder, seed)
    for number, moment in enumerate(MOMENTS):
        path = folder / moment.replace(" ", "-")
        # The first checkpoint for some, a later one for others.
        which, whole = 1 + 3 * (number % 2), partial(run, path, seed)
        assert finish(fork(partial(dying, moment, which, whole))), moment
        assert not finish(fork(whole))
        compare(expected, path)

    done, runs = 0, 0
    while done < kills:
        seed, runs = seed + 1, runs + 1
        expected, seconds = reference(folder, seed)
        path = folder / f"killed-{seed}"
        alive, here = True, 0
        while alive and done < kills and here < 8:
            child = fork(partial(run, path, seed))
            time.sleep(chance.uniform(0.0, 0.5 * seconds))
            os.kill(child, signal.SIGKILL)
            alive = finish(child)
            done, here = done + alive, here + alive
        if alive:
            assert not finish(fork(partial(run, path, seed)))
        compare(expected, path)
    print(json.dumps({"kills": done, "runs": runs, "moments": len(MOMENTS)}))


if __name__ == "__main__":
    main()
