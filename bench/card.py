"""Cards: what a reader must know before trusting a number. Light to import, readable without import.

A file in `tasks/`, `methods/` or `datasets/` states `CARD = Card(...)` with literal arguments only, so
that `bench list` can read it from the source text without importing the file (and torch with it).
"""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Difference:
    """One disagreement between paper and code (or paper and paper), as one named switch.

    Args:
        switch: The field that carries it, such as `protocol.loss` or `method.merge`, or a metric variant.
        clean: What profile `clean` does.
        official: What profile `official` does, as the published code computed it.
        why: One sentence a reviewer can follow.
        source: Paper section, equation, or place in the official code.
    """

    switch: str
    clean: str
    official: str
    why: str
    source: str


@dataclass(frozen=True)
class Reported:
    """How the rows of the reported tables map to a task's own names.

    Args:
        task: The name in the column `task` of `leaderboards/reported/*.csv`.
        datasets: Reported dataset name -> our dataset.
        classes: Reported class name -> our class name, or `mean` for the mean over classes.
        methods: Reported method name -> our registry name (or a name of its own where we have none).
        variants: Reported variant -> our method configuration, as `field=value` pairs joined by `;`.
        profile: The profile whose protocol the reported rows were made under.
        variant: The metric variant that a reported number is set beside, by metric name.
        settings: Reported setting without its class, as in the CSV -> our axes, as `field=value` pairs
            joined by `;`. Empty where a task has no axes: the setting is then not looked at.
        tables: Table label as printed -> reported metric -> our metric, where a table means another one.
    """

    task: str
    datasets: dict[str, str]
    classes: dict[str, str]
    methods: dict[str, str]
    variants: dict[str, str]
    profile: str
    variant: dict[str, str]
    settings: dict[str, str] = field(default_factory=dict)
    tables: dict[str, dict[str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Card:
    """Title, provenance and terms of a task, method or dataset."""

    title: str
    family: str = ""
    summary: str = ""
    citation: str = ""
    url: str = ""
    licence: str = ""
    unit: str = ""
    files: str = ""
    download: str = ""
    checksums: tuple[tuple[str, str], ...] = ()
    classes: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    primary: str = ""
    datasets: tuple[str, ...] = ()
    differences: tuple[Difference, ...] = ()
    reported: Reported | None = None
    notes: str = ""
