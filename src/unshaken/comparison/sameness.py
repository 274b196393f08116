"""Whether another machine would do the same runs: its version of this package, and its data."""

from __future__ import annotations

from dataclasses import dataclass

import unshaken
from unshaken.comparison.checking import identity
from unshaken.comparison.environment import provenance
from unshaken.comparison.mistakes import is_mistake, sentence
from unshaken.comparison.protocol import VERSION, Protocol
from unshaken.comparison.single import Loader


@dataclass(frozen=True)
class Footing:
    """What the runs of a comparison stand on.

    Attributes:
        version: of this package, and of what its runs compute.
        commit: of its checkout, where it is one.
        protocol: names the data.
        seed: loads them.
        content: what tells data and network from others of the same names.
    """

    version: str
    commit: str | None
    protocol: Protocol
    seed: int
    content: str


def footing(protocol: Protocol, seed: int, load: Loader) -> Footing:
    """That of this process."""
    content = identity(load(protocol, seed), protocol)
    version = f"{unshaken.__version__} (runs of version {VERSION})"
    return Footing(version, _commit(), protocol, seed, content)


def difference(wanted: Footing, load: Loader) -> str:
    """In what this process differs, in one sentence; empty where it would do the same runs."""
    name = wanted.protocol.data
    try:
        here = footing(wanted.protocol, wanted.seed, load)
    except Exception as error:
        if not is_mistake(error):
            raise
        return f"it cannot load the data {name!r}: {sentence(error)}"
    if here.version != wanted.version:
        return f"it runs unshaken {here.version}, not {wanted.version}: install the same version"
    if here.commit and wanted.commit and here.commit != wanted.commit:
        return f"it runs the commit {here.commit}, not {wanted.commit}: check out the same one"
    if here.content != wanted.content:
        own = ":" in wanted.protocol.network.get("name", "")
        what = f"its data {name!r} or its network" if own else f"its data {name!r}"
        return f"{what} have another content: copy the files, with their times, to it"
    return ""


def _commit() -> str | None:
    commit = provenance()["commit"]
    return None if commit is None else str(commit)
