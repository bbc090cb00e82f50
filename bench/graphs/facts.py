"""What `bench data verify` tells of scene graphs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bench.errors import UserError
from bench.graphs.scene import SceneGraphs


def facts(scenes: SceneGraphs) -> dict[str, str]:
    """Graphs of every split, size of the vocabulary, what was put in order, and the fingerprint."""
    found = {"graphs": f"{len(scenes):,}"}
    found |= {f"graphs of {split}": f"{count:,}" for split, count in scenes.counts().items()}
    found |= {
        kind: f"{len(getattr(scenes.vocabulary, kind)):,}"
        for kind in ("objects", "predicates", "attributes")
        if getattr(scenes.vocabulary, kind)
    }
    found |= {what: f"{count:,}" for what, count in scenes.cleaned.items()}
    return {**found, "fingerprint": scenes.fingerprint()}


def judged(root: Path, told: Mapping[str, str], right: Mapping[str, int], complete: bool) -> dict[str, str]:
    """Facts held against those of the release.

    Args:
        root: Named in what is refused.
        told: What `facts` gave.
        right: Fact -> number in the complete release.
        complete: Whether the data is complete, so that another number is a fault.

    Raises:
        UserError: The data is complete but has other numbers.
    """
    found = dict(told)
    for name, number in right.items():
        got = told.get(name, "0")
        if got == f"{number:,}":
            found[name] = f"{got}, as released"
        elif complete:
            raise UserError(
                f"`{root}` has all its images but {got} {name} where {number:,} are right; fetch the "
                "official files again."
            )
        else:
            found[name] = f"{got} (the complete release has {number:,})"
    return found
