"""`bench metrics graphs|images`: any two sets beside each other, without a task."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import UserError, suggest

if TYPE_CHECKING:
    from bench.core import MetricValue

KINDS = ("graphs", "images")
_GRAPHS = ("permutations",)
_IMAGES = (
    *("extractor", "weights", "download", "resize", "size", "format", "stretch", "split", "under"),
    *("by_class", "boxes", "lpips", "segmenter", "labels", "classes", "ignore", "device", "out"),
)


def run(args: Namespace) -> int:
    """Compare what the command line names.

    Raises:
        UserError: An unknown kind, or an option of the other one.
    """
    kind = args.kind
    if kind not in KINDS:
        raise UserError(f"`bench metrics` compares {' or '.join(KINDS)}, got `{kind}`.{suggest(kind, KINDS)}")
    foreign = _IMAGES if kind == "graphs" else _GRAPHS
    given = [name for name in foreign if getattr(args, name) not in (None, False)]
    if given:
        option = given[0].replace("_", "-")
        raise UserError(f"`--{option}` is no option of `bench metrics {kind}`; leave it out.")
    if kind == "graphs":
        from bench.verbs.graph_metrics import run as graphs

        permutations = 1000 if args.permutations is None else args.permutations
        return graphs(
            args.generated,
            args.reference,
            args.metrics,
            as_json=args.json,
            permutations=permutations,
            seed=args.seed,
        )
    from bench.verbs.image_metrics import Options
    from bench.verbs.image_metrics import run as images

    plain = {
        name: getattr(args, name) for name in ("extractor", "resize", "format", "stretch", "device", "lpips")
    }
    return images(
        args.generated,
        args.reference,
        Options(
            metrics=args.metrics,
            **{name: value for name, value in plain.items() if value is not None},
            weights=_path(args.weights),
            download=args.download,
            size=args.size,
            reference_name=args.split or "reference",
            under=args.under,
            by_class=args.by_class,
            boxes=_path(args.boxes),
            segmenter=args.segmenter,
            labels=_path(args.labels),
            classes=args.classes,
            ignore=args.ignore,
            seed=args.seed,
            out=_path(args.out),
            as_json=args.json,
        ),
    )


def _path(word: str | None) -> Path | None:
    return Path(word).expanduser() if word else None


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
