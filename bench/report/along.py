"""Sections that differ in one number of their setting alone, side by side: learning curves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.axes import canonical, said, word
from bench.report.board import VARIANTS, Cell, Section
from bench.report.grids import NONE, Grid, cell_text

ALL = "all"  # a setting without a limit; stands after every number


@dataclass(frozen=True)
class Course:
    """The primary metric along one axis.

    Args:
        metric: Its name.
        axis: The axis.
        values: What it was set to, ascending.
        lines: Method -> a cell for every value; one without a value where it was not run.
        title: Dataset, variant, the rest of the setting, profile.
        terms: What all of it was made under, one sentence each.
    """

    metric: str
    axis: str
    values: tuple[Any, ...]
    lines: Mapping[str, tuple[Cell, ...]]
    title: str
    terms: tuple[str, ...]

    def grid(self) -> Grid:
        """A row a method, a column a value."""
        return Grid(
            title=f"{self.metric} along {self.axis}: {self.title}",
            terms=self.terms,
            headers=("method", *(f"{self.axis}={word(value)}" for value in self.values)),
            rows=tuple(
                (label, *(NONE if cell.value is None else cell_text(cell, True) for cell in cells))
                for label, cells in self.lines.items()
            ),
        )


def courses(sections: Sequence[Section], metric: str) -> Iterator[Course]:
    """One for each setting that was measured at two or more values of one axis.

    Sections belong together where data, split, profile, deviations and every other axis are the same; their
    rankings stay apart.

    Args:
        sections: Of one board.
        metric: The metric that ranks.
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
                yield _course(axis, group, metric)


def _course(axis: str, group: dict[Any, Section], metric: str) -> Course:
    values = sorted(group, key=lambda value: (value == ALL, 0 if value == ALL else value))
    first = group[values[0]]
    rest = {name: one for name, one in first.setting.items() if name != axis}
    rows = {value: {row.label: row for row in group[value].rows} for value in values}
    labels = dict.fromkeys(label for value in reversed(values) for label in rows[value])
    return Course(
        metric=metric,
        axis=axis,
        values=tuple(values),
        lines={
            label: tuple(
                rows[value][label].cell(metric) if label in rows[value] else Cell(None) for value in values
            )
            for label in labels
        },
        title=f"{first.key.dataset} · {VARIANTS[first.key.variant]} · {said(rest)} · profile "
        f"{first.key.profile}",
        terms=(*first.terms, first.intervals),
    )
