"""Sections that differ in one number of their setting alone, side by side: learning curves as tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from bench.axes import canonical, said, word
from bench.report.board import VARIANTS, Section
from bench.report.grids import NONE, Grid, cell_text

ALL = "all"  # a setting without a limit; stands after every number


def along_grids(sections: Sequence[Section], primary: str) -> Iterator[Grid]:
    """One table for each setting that was measured at two or more values of one axis.

    Sections belong together where data, split, profile, deviations and every other axis are the same. A row
    is a method; its cells are the primary metric of its sections, whose rankings stay apart.

    Args:
        sections: Of one board.
        primary: The metric that ranks.
    """
    for axis in dict.fromkeys(name for section in sections for name in section.setting):
        found: dict[str, dict[Any, Section]] = {}
        for section in sections:
            value = section.setting.get(axis)
            if isinstance(value, bool) or not (isinstance(value, int | float) or value == ALL):
                continue
            k = section.key
            rest = {name: one for name, one in section.setting.items() if name != axis}
            same = [k.dataset, k.variant, k.fingerprint, k.split_sha256, k.profile, section.deviations, rest]
            found.setdefault(canonical(same), {}).setdefault(value, section)
        for group in found.values():
            if len(group) > 1:
                yield _grid(axis, group, primary)


def _grid(axis: str, group: dict[Any, Section], primary: str) -> Grid:
    values = sorted(group, key=lambda value: (value == ALL, 0 if value == ALL else value))
    first = group[values[0]]
    rest = {name: one for name, one in first.setting.items() if name != axis}
    cells = {value: {row.label: row for row in group[value].rows} for value in values}
    labels = dict.fromkeys(label for value in reversed(values) for label in cells[value])
    return Grid(
        title=f"{primary} along {axis}: {first.key.dataset} · {VARIANTS[first.key.variant]} · "
        f"{said(rest)} · profile {first.key.profile}",
        terms=(*first.terms, first.intervals),
        headers=("method", *(f"{axis}={word(value)}" for value in values)),
        rows=tuple(
            (
                label,
                *(
                    cell_text(cells[value][label].cell(primary), True) if label in cells[value] else NONE
                    for value in values
                ),
            )
            for label in labels
        ),
    )
