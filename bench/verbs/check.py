"""`bench check method=<m>`: would it survive the real run? Answered on the phantom, within a minute."""

from __future__ import annotations

import copy
import dataclasses
import functools
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from bench import seeding
from bench.checkpoint import Checkpoint
from bench.config import compose
from bench.core import Context, Dataset
from bench.curves import Curves
from bench.data import dataset_named, phantom_root
from bench.device import make_fabric
from bench.errors import RunFailed, UserError
from bench.plan import Plan, make
from bench.progress import Progress
from bench.registry import card, load_method, names, split_parts, split_path, task_of
from bench.run import context
from bench.words import family_of, parse


@dataclasses.dataclass
class Finding:
    """One check: its name, whether it passed, and what was seen."""

    name: str
    passed: bool
    seen: str


def run(words: list[str], as_json: bool) -> int:
    """Run all checks; exit 1 if one fails."""
    given = {key: value for key, _, value in (word.partition("=") for word in words)}
    if not given.get("method"):
        raise UserError("`bench check` needs `method=`, such as `method=./my_net.py:MyNet`.")
    if "task" not in given:
        given["task"] = home_task(given["method"])
    request = parse("run", [f"{key}={value}" for key, value in given.items()])
    plan = make(compose(request.overrides), request)
    findings = examine(plan)
    failed = [finding for finding in findings if not finding.passed]
    if as_json:
        print(
            json.dumps({"passed": not failed, "checks": [dataclasses.asdict(f) for f in findings]}, indent=2)
        )
    else:
        width = max(len(f.name) for f in findings)
        for finding in findings:
            print(f"{'ok  ' if finding.passed else 'FAIL'}  {finding.name:<{width}}  {finding.seen}")
        verdict = (
            "would survive the real run" if not failed else f"{len(failed)} of {len(findings)} checks failed"
        )
        print(f"{plan.method_name}: {verdict}")
    return 1 if failed else 0


def home_task(spec: str) -> str:
    """The first task of the method's family; a plain class is taken for a segmentation network."""
    first = split_parts(spec)[0]
    path, _ = split_path(first)
    if path is None and first in names("method"):
        return task_of(card("method", first).family)
    return task_of(family_of(load_method(first).target))


def examine(plan: Plan) -> list[Finding]:
    """Every check of a method, in the order in which a run would meet its faults."""
    name, dataset = phantom_of(plan)
    root = phantom_root(name, dataset, "tiny")
    small = dataclasses.replace(plan.protocol, **plan.task.small)
    data = plan.task.load(dataset.load(root), small)
    findings: list[Finding] = []
    trial: list[Any] = []

    def attempt(name: str, act: Callable[[], str]) -> bool:
        try:
            findings.append(Finding(name, True, act()))
        except Exception as error:  # the method is somebody's code and may raise anything
            first = (str(error).splitlines() or [""])[0]
            shown = (
                first
                if isinstance(error, RunFailed | UserError | Refused)
                else f"{type(error).__name__}: {first}"
            )
            findings.append(Finding(name, False, shown))
        return findings[-1].passed

    def learns() -> str:
        with watching(root) as opened:
            trial.append(fit_predict(plan, small, data))
        if opened:
            raise Refused(f"fit or predict opened {opened[0]} of the dataset; use only what `fit` is given")
        method, predictions = trial[0]
        count = method.parameters_count()
        size = "no parameters" if count is None else f"{count:,} parameters"
        labels = plan.task.labels(predictions)
        return f"{size}, labels {labels.shape} {labels.dtype}"

    def repeats() -> str:
        first = plan.task.labels(trial[0][1])
        again = fit_predict(plan, small, plan.task.blind(data))[1]
        if np.array_equal(plan.task.labels(again), first):
            return "same seed, other test targets: bitwise the same predictions"
        third = fit_predict(plan, small, data)[1]
        if np.array_equal(plan.task.labels(third), first):
            raise Refused("predictions change with the test targets: the method sees them")
        raise Refused("two runs with one seed differ; draw random numbers from torch, numpy or random only")

    def single() -> str:
        method, predictions = trial[0]
        alone = plan.task.answer_singly(method, data)
        if alone is None:
            return "not asked: the method answers as a whole"
        share = float((alone != plan.task.labels(predictions)).mean())
        if share > 1e-3:
            raise Refused(f"{share:.1%} of the labels change when samples are predicted one at a time")
        return "one sample at a time gives the same labels"

    def pickles() -> str:
        return plan.task.portable(trial[0][0])

    def full_step() -> str:
        with trial_context(plan, plan.protocol, data) as ctx:
            whole = functools.partial(dataset.load, phantom_root(name, dataset))
            return plan.task.rehearse(untrained(plan), data, ctx, whole)

    if attempt("fit, predict, shapes", learns):
        attempt("deterministic, blind to test targets", repeats)
        attempt("independent of the batch", single)
        attempt("pickling", pickles)
        attempt("one step at the protocol's batch size", full_step)
    return findings


def phantom_of(plan: Plan) -> tuple[str, Dataset]:
    """The dataset asked for if it has a phantom, else the task's first that has one."""
    for name in (plan.dataset, *plan.task.card.datasets):
        dataset = dataset_named(name)
        if dataset.has_phantom:
            return name, dataset
    raise UserError(f"No dataset of task `{plan.task_name}` has a phantom to check a method on.")


class Refused(Exception):
    """A check failed; the message is the finding."""


@contextmanager
def trial_context(plan: Plan, protocol: Any, data: Any) -> Iterator[Context]:
    """A context whose folder is gone afterwards."""
    fabric = make_fabric(plan.device, protocol.precision)
    with tempfile.TemporaryDirectory() as folder:
        curves = Curves(Path(folder) / "curves.csv")
        checkpoint = Checkpoint(Path(folder) / "checkpoint", curves)
        small = dataclasses.replace(plan, protocol=protocol)
        seeding.seed_everything(plan.seed)
        yield context(small, data, Path(folder), fabric, checkpoint, Progress(), lambda line: None)


def fit_predict(plan: Plan, protocol: Any, data: Any) -> tuple[Any, Any]:
    """A fresh method, a few steps, predictions."""
    method = untrained(plan)
    with trial_context(plan, protocol, data) as ctx:
        method.fit(data.train, data.val, ctx)
        return method, plan.task.predict(method, data, ctx)


def untrained(plan: Plan) -> Any:
    """A copy of the configured method that has learnt nothing yet."""
    assert plan.method is not None
    return copy.deepcopy(plan.method)


_watched: list[tuple[Path, list[str]]] = []


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if event == "open" and _watched and isinstance(args[0], str):
        root, opened = _watched[-1]
        if Path(args[0]).absolute().is_relative_to(root):
            opened.append(Path(args[0]).name)


@contextmanager
def watching(root: Path) -> Iterator[list[str]]:
    """Note every file below `root` that is opened meanwhile."""
    if not getattr(sys, "_bench_audit", False):
        sys.addaudithook(_audit)
        sys._bench_audit = True  # pyright: ignore[reportAttributeAccessIssue]
    opened: list[str] = []
    _watched.append((root.absolute(), opened))
    try:
        yield opened
    finally:
        _watched.pop()
