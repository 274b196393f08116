"""Do worst multiplicative changes train better than random ones of the same size?

    OMP_NUM_THREADS=1 python benchmarks/masks.py [CASE ...]

Four cases: digits with 100 labels and the rest unlabeled, digits with 200 labels alone, MNIST with
1000 labels alone, and sinusoids. In each, masks that erase what matters most and random ones, of
single entries or of blocks, and the worst and a random relative change x (1 + r). The share kept
(or the size of r) of each is chosen with the same grid and the same seeds, where the reported
errors do not come from: held-out training examples, for sinusoids data of other seeds. Errors are
those of other seeds on the test set. An adversary is compared with its control at several sizes:
each at its own best, both at the adversary's, and for digits alone both at the control's.

The worst of several random masks is left out where its forward passes take too long here.

Every run is appended to ``results/masks.jsonl`` as it finishes; a second call does the rest. The
tables go to ``results/masks.json``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from study import Case, Entry, main

ALONE = {"unlabeled_batch_size": 0}
KEEPS = (0.35, 0.5, 0.7, 0.85, 0.95)


def case(
    data: str,
    changes: Mapping[str, Any],
    training: Mapping[str, Any],
    held_out: int,
    choosing: int,
    seeds: int,
    block: int,
    radii: Sequence[float],
    keeps: Sequence[float] = KEEPS,
    worst_of: Sequence[float] = (4.0, 16.0),
    blocks: bool = False,
) -> Case:
    """Data and budget with everything that is compared there.

    Args:
        block: width of a block of entries.
        radii: sizes of relative changes.
        keeps: shares kept.
        worst_of: of how many random masks the worst is taken.
        blocks: whether masks of blocks, of several steps, and learned ones are compared, too.
    """
    found = {"baseline": Entry("baseline")}
    for name, width in (("entries", 1.0), ("blocks", float(block))):
        if name == "entries" or blocks:
            random = f"random {name}"
            found[random] = Entry("mask-random", "keep", keeps, {"block": width})
            fixed = {"block": width, "steps": 1.0}
            found[f"steepest {name}"] = Entry("mask-steepest", "keep", keeps, fixed, random)
    for draws in worst_of:
        fixed = {"block": 1.0, "draws": draws}
        entry = Entry("mask-worst", "keep", keeps, fixed, "random entries")
        found[f"worst of {draws:g} random entries"] = entry
    found["random relative"] = Entry("relative-random", "radius", radii)
    found["relative"] = Entry("relative", "radius", radii, {}, "random relative")
    if blocks:
        fixed, control = {"block": 1.0, "steps": 3.0}, "random entries"
        steps = Entry("mask-steepest", "keep", keeps, fixed, control)
        found["steepest entries, 3 steps"] = steps
        rates = (1e-6, 1e-3, 1e-2)
        found["generator"] = Entry("xvat", "learning_rate", rates, {}, control)
    return Case(data, found, changes, training, held_out, choosing, seeds, control_sizes=blocks)


CASES = {
    "digits, 100 labels": case(
        "digits",
        {"labels": 100},
        {},
        297,
        5,
        20,
        2,
        (1.0, 2.0, 3.0, 4.5, 7.0),
        (0.5, 0.7, 0.85, 0.95),
        worst_of=(16.0,),
    ),
    "digits, 200 labels alone": case(
        "digits", {"labels": 200}, ALONE, 297, 5, 20, 2, (0.5, 1.0, 2.0, 3.0, 4.5, 7.0), blocks=True
    ),
    "mnist, 1000 labels alone": case(
        "mnist",
        {"labels": 1000, "network": {"name": "mlp", "widths": [256, 128]}},
        {**ALONE, "steps": 500},
        5000,
        3,
        5,
        4,
        (3.0, 5.5, 9.0, 13.0, 18.0, 25.0),
        (0.2, 0.35, 0.5, 0.7, 0.85, 0.95, 0.98),
        worst_of=(),
    ),
    "sinusoids": case(
        "sinusoids", {}, {"steps": 1000}, 0, 5, 10, 5, (0.5, 1.0, 2.0, 4.0, 8.0), worst_of=()
    ),
}


if __name__ == "__main__":
    main(__doc__, CASES, "masks")
