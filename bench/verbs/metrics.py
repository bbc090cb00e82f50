"""`bench metrics graphs|images`: any two sets beside each other, without a task."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import UserError, suggest

if TYPE_CHECKING:
    from bench.core import MetricValue

KINDS = ("graphs", "images")
_GRAPHS = ("permutations",)
_COMMON = ("metrics", "seed", "json")
_PATHS = ("weights", "boxes", "labels", "out")
_EMPTY_IS_NONE = {*_PATHS, "split"}


def run(args: Namespace) -> int:
    """Compare what the command line names.

    Raises:
        UserError: An unknown kind, or an option of the other one.
    """
    kind = args.kind
    if kind not in KINDS:
        raise UserError(f"`bench metrics` compares {' or '.join(KINDS)}, got `{kind}`.{suggest(kind, KINDS)}")
    from bench.verbs import graph_metrics, image_metrics

    of_images = [field.name for field in fields(image_metrics.Options)]
    foreign = [name for name in of_images if name not in _COMMON] if kind == "graphs" else _GRAPHS
    given = [name for name in foreign if getattr(args, name) not in (None, False)]
    if given:
        option = given[0].replace("_", "-")
        raise UserError(f"`--{option}` is no option of `bench metrics {kind}`; leave it out.")
    if kind == "graphs":
        return graph_metrics.run(
            args.generated,
            args.reference,
            args.metrics,
            as_json=args.json,
            permutations=1000 if args.permutations is None else args.permutations,
            seed=args.seed,
        )
    said = {name: getattr(args, name) for name in of_images}
    said = {name: value for name, value in said.items() if value is not None}
    for name in _EMPTY_IS_NONE & said.keys():
        if not said[name]:
            del said[name]
        elif name in _PATHS:
            said[name] = Path(said[name]).expanduser()
    return image_metrics.run(args.generated, args.reference, image_metrics.Options(**said))


def chosen(metrics: str, known: Sequence[str], of: str) -> tuple[str, ...]:
    """Names joined by commas, in the order of `known`.

    Raises:
        UserError: An unknown name, or none.
    """
    names = [name.strip() for name in metrics.split(",") if name.strip()]
    for name in names:
        if name not in known:
            raise UserError(
                f"There is no metric `{name}` of {of}.{suggest(name, known)} There are {', '.join(known)}."
            )
    if not names:
        raise UserError(f"`--metrics` names none; there are {', '.join(known)}.")
    return tuple(name for name in known if name in names)


def as_json(found: Mapping[str, MetricValue]) -> dict[str, Any]:
    """Metrics as a record holds them, the intervals of single items aside."""
    from bench.core import Scored
    from bench.record import metric_parts

    parts = metric_parts(Scored(dict(found), [])).items()
    return {name: part.model_dump(exclude={"intervals"}) for name, part in parts}
