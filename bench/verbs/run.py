"""`bench run` and `bench score`."""

from __future__ import annotations

import functools
import json
import sys
from typing import Any

from bench.config import compose, sweep
from bench.errors import RunFailed, UserError
from bench.files import storage_problem
from bench.record import Record
from bench.words import Request, parse


def run(verb: str, words: list[str], multirun: bool, as_json: bool) -> int:
    """Carry out one run, or every combination of a sweep."""
    if multirun and verb == "score":
        raise UserError("`bench score` scores one set of predictions; leave out `-m`.")
    request = parse(verb, words, multirun)
    if multirun:
        return max(
            sweep(request.overrides, functools.partial(sweep_job, request=request, as_json=as_json)),
            default=0,
        )
    return job(compose(request.overrides), request, as_json)


def sweep_job(config: Any, request: Request, as_json: bool) -> int:
    """One combination of a sweep: a failure is told and the others go on."""
    try:
        return job(config, request, as_json)
    except (UserError, RunFailed) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2 if isinstance(error, UserError) else 1
    except OSError as error:
        sentence = storage_problem(error)
        if sentence is None:
            raise
        print(f"bench: {sentence}", file=sys.stderr)
        return 2


def job(config: Any, request: Request, as_json: bool) -> int:
    """Plan, execute, show."""
    from bench.plan import make
    from bench.run import execute

    plan = make(config, request)
    outcome = execute(plan)
    if as_json:
        print(metrics_json(outcome.record))
        return 0
    from bench.report.tables import console, run_table
    from bench.reported import load_rows

    out = console()
    for part in run_table(outcome.record.model_dump(mode="json"), plan.task.card, load_rows()):
        out.print(part)
    if not outcome.fresh:
        print("This run was finished before; add `rerun=true` to compute it again.", file=sys.stderr)
    # Plain print: a path must stay whole, so that it can be copied.
    print(f"record   {outcome.folder / 'record.json'}")
    print(f"gallery  {outcome.folder / 'gallery'}")
    return 0


def metrics_json(record: Record) -> str:
    """`{"metrics": {...}}`, what every measuring command prints under `--json`."""
    return json.dumps({"metrics": record.model_dump(mode="json")["metrics"]}, allow_nan=False)
