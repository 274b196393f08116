"""Which direction of KL trains better where few examples have a label?

    UNSHAKEN_DATA=/path/to/data OMP_NUM_THREADS=1 python benchmarks/direction.py [CASE ...]

Each method that compares the clean prediction p with the perturbed one q, once by ``KL[p ‖ q]``,
the papers' formula, and once by ``KL[q ‖ p]``, the direction that the published xVAT program has
for masks: worst and random noise, movements and masks. The size of each is chosen for each
direction by itself with the same grid, on held-out training examples and other seeds
(:mod:`study`). A reversed method is compared with itself unreversed, and each adversary with its
random control of the same direction.

Every run is appended to ``results/direction.jsonl`` as it finishes; a second call does the rest.
The tables go to ``results/direction.json``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from study import Case, Entry, main

REVERSED = ", reversed"


def pair(
    name: str,
    method: str,
    setting: str = "",
    values: Sequence[float] = (0.0,),
    fixed: Mapping[str, float] | None = None,
    random: str = "",
) -> dict[str, Entry]:
    """A method in both directions, and beside its random control in both.

    Args:
        name: what the table calls it.
        method: its name in the catalog.
        setting: what is chosen.
        values: where it is looked for.
        fixed: other settings.
        random: the control's name in the table; empty for a control.
    """
    forward = Entry(method, setting, values, fixed or {})
    back = replace(forward, fixed={**forward.fixed, "reverse": 1.0})
    found = {name: forward, name + REVERSED: replace(back, control=name)}
    if random:
        for each, suffix in ((forward, ""), (back, REVERSED)):
            beside = replace(each, as_in=name + suffix, control=random + suffix)
            found[f"{name}{suffix} beside {random}{suffix}"] = beside
    return found


MNIST = {
    "optimizer": "adam",
    "lr": 0.002,
    "schedule": "linear:0.3",
    "batch_size": 100,
    "unlabeled_batch_size": 250,
    "steps": 2000,
}
CASES = {
    "digits, 100 labels": Case(
        "digits",
        {
            "baseline": Entry("baseline"),
            **pair("random noise", "random-tuned", "radius", (1.0, 2.0, 3.0)),
            **pair("VAT", "vat", "radius", (0.3, 0.6, 1.0, 1.5), random="random noise"),
            **pair("random movement", "random-elastic", "radius", (0.4, 0.8, 1.2, 1.6)),
            **pair(
                *("worst movement", "mvat-elastic", "radius", (0.2, 0.4, 0.8, 1.2)),
                random="random movement",
            ),
            **pair("random masks", "mask-random", "keep", (0.5, 0.7, 0.85, 0.95)),
            **pair(
                *("steepest masks", "mask-steepest", "keep", (0.5, 0.7, 0.85, 0.95, 0.98)),
                random="random masks",
            ),
            **pair(
                "learned masks", "xvat", "weight", (0.3, 1.0, 3.0, 10.0), {"learning_rate": 1e-3}
            ),
            **pair("random movement, entropy and balance", "few-labels-random"),
            **pair(
                *("worst movement, entropy and balance", "few-labels"),
                random="random movement, entropy and balance",
            ),
        },
        {"labels": 100},
        {},
        297,
        10,
        20,
        adversary_sizes=False,
    ),
    "mnist, 100 labels": Case(
        "mnist",
        {
            "baseline": Entry("baseline"),
            **pair("random noise", "random-tuned", "radius", (1.0, 3.0, 6.0, 10.0, 15.0, 20.0)),
            **pair("VAT", "vat", "radius", (0.1, 0.3, 1.0, 2.0), random="random noise"),
            **pair("random masks", "mask-random", "keep", (0.3, 0.5, 0.7, 0.9)),
            **pair("learned masks", "xvat", random="random masks"),
        },
        {
            "labels": 100,
            "normalize": "centered",
            "network": {"name": "mlp", "widths": [1200, 600, 300, 150]},
        },
        MNIST,
        5000,
        1,
        3,
        shorter={"steps": 700},
        adversary_sizes=False,
    ),
}


if __name__ == "__main__":
    main(__doc__, CASES, "direction")
