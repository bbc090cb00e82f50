"""The one verb: data, fit, predict, score, record; interrupted runs go on, finished ones are only read."""

from __future__ import annotations

import hashlib
import io
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bench import environment, seeding
from bench.checkpoint import Checkpoint
from bench.compare import compared
from bench.core import Context, Scored
from bench.curves import Curves
from bench.data import Located, dataset_named, locate
from bench.device import make_fabric, peak_memory
from bench.errors import RunFailed, UserError
from bench.files import storage_problem, write_bytes
from bench.plan import Plan, plain
from bench.progress import Progress
from bench.record import CostPart, DataPart, MethodPart, Record, TaskPart, metric_parts, now
from bench.report.board import VARIANTS, leak
from bench.store import RECORD, held, pick, run_folder, stored


@dataclass(frozen=True)
class Outcome:
    """A finished run: its record, its folder, and whether it was computed now or read."""

    record: Record
    folder: Path
    fresh: bool


def say(line: str) -> None:
    """One line to a person, on standard error."""
    print(line, file=sys.stderr, flush=True)


def execute(plan: Plan, progress: Progress | None = None, tell: Callable[[str], None] = say) -> Outcome:
    """Carry out a plan, or read its finished record.

    Raises:
        UserError: The input was wrong; nothing was recorded.
        RunFailed: The method failed; the record says `failed` and the log holds the traceback.
    """
    progress = progress or Progress()
    dataset = dataset_named(plan.dataset)
    place = locate(plan.dataset, dataset, plan.data, plan.data_root)
    if place.notice:
        tell(place.notice)
    data = plan.task.load(dataset.load(place.root, progress), plan.protocol)
    departures = plan.task.departures(data)
    plan = replace(plan, deviations=(*plan.deviations, *departures))
    for departure in departures:
        tell(f"Deviation: {departure}")
    if data.info.leaks:
        tell(f"Leak: {leak(data.info.leaks, data.info.unit)}")
    for notice in plan.notices:
        tell(notice)
    predictions, content = None, ""
    if plan.predictions is not None:
        predictions = plan.task.read_predictions(plan.predictions, data)
        told = predictions.content() if hasattr(predictions, "content") else np.asarray(predictions).tobytes()
        content = hashlib.sha256(told).hexdigest()
    run_id = plan.run_id(data.info, place.variant, content)
    base = run_folder(plan.out, plan.task_name, plan.dataset, plan.method_name, run_id)
    waiting = f"Run {run_id} is being computed by another process; waiting for it."
    # The base lock also covers the choice among repetitions.
    with held(base, waiting):
        folder = pick(base, plan.rerun)
        before = stored(folder)
        if before is not None and before.status == "done":
            return Outcome(before, folder, fresh=False)
        fabric = make_fabric(plan.device, plan.protocol.precision)
        folder.mkdir(parents=True, exist_ok=True)
        record = _begin(plan, data, place, folder, before, fabric)
        try:
            return _carry_out(plan, data, predictions, record, folder, progress, fabric)
        except UserError:
            if before is None:  # refused input leaves no record behind
                (folder / RECORD).unlink(missing_ok=True)
            raise


def _begin(plan: Plan, data: Any, place: Located, folder: Path, before: Record | None, fabric: Any) -> Record:
    info = data.info
    record = Record(
        run_id=folder.name,
        status="running",
        started=before.started if before else now(),
        command=plan.command,
        task=TaskPart(
            name=plan.task_name,
            family=plan.task.family,
            protocol_hash=plan.protocol_hash,
            profile=plan.profile,  # pyright: ignore[reportArgumentType]
            deviations=list(plan.deviations),
            setting=plain(plan.task.setting(plan.protocol)),
        ),
        data=DataPart(
            dataset=plan.dataset,
            variant=place.variant,  # pyright: ignore[reportArgumentType]
            fingerprint=info.fingerprint,
            split_sha256=info.split_sha256,
            counts=info.counts,
            unit=info.unit,
            leaks=info.leaks,
        ),
        method=_method_part(plan),
        seeds={**({"run": plan.seed} if plan.method else {}), **plan.task.seeds(plan.protocol)},
        environment=environment.environment(str(fabric.device), plan.grid or None),
    )
    record.write(folder / RECORD)
    return record


def _method_part(plan: Plan) -> MethodPart:
    if plan.found is None:
        return MethodPart(name=plan.label, source="predictions", state="external")
    builtin = plan.found.source == "builtin"
    return MethodPart(
        name=plan.method_name,
        source=plan.found.source,  # pyright: ignore[reportArgumentType]
        state="reimplemented" if builtin else "external",
        file_sha256=plan.file_sha256(),
        config=plan.config(),
    )


def _carry_out(
    plan: Plan, data: Any, predictions: Any, record: Record, folder: Path, progress: Progress, fabric: Any
) -> Outcome:
    log_file = folder / "log.txt"

    def log(line: str) -> None:
        with log_file.open("a", encoding="utf-8") as file:
            file.write(f"{now()} {line}\n")

    log(record.command)
    checkpoint = Checkpoint(folder / "checkpoint", Curves(folder / "curves.csv"))
    cost = CostPart()
    try:
        if plan.method is not None:
            predictions = _learn(plan, data, record, folder, progress, checkpoint, log, cost, fabric)
        start = time.monotonic()
        scored = plan.task.score(predictions, data, plan.protocol)
        cost.score_s = time.monotonic() - start
        for note in scored.notes:
            log(note)
            say(note)
        _finish(plan, data, predictions, scored, record, folder, checkpoint, cost)
    except UserError:
        raise
    except Exception as error:  # the method is somebody's code and may raise anything
        if isinstance(error, OSError) and storage_problem(error):
            raise  # the record stays `running`: the same command continues
        _fail(record, folder, log)
        if isinstance(error, RunFailed):
            raise
        raise RunFailed(_failure(plan, error, folder)) from error
    log("done")
    return Outcome(record, folder, fresh=True)


def _learn(
    plan: Plan,
    data: Any,
    record: Record,
    folder: Path,
    progress: Progress,
    checkpoint: Checkpoint,
    log: Callable[[str], None],
    cost: CostPart,
    fabric: Any,
) -> Any:
    """Fit and predict; fills in cost and parameters."""
    method = plan.method
    assert method is not None
    seeding.seed_everything(plan.seed)
    ctx = context(plan, data, folder, fabric, checkpoint, progress, log)
    ctx.tell = lambda line: (log(line), say(line))[0]
    method.fit(data.train, data.val, ctx)
    cost.fit_s = checkpoint.elapsed()
    start = time.monotonic()
    predictions = plan.task.predict(method, data, ctx)
    cost.predict_s = time.monotonic() - start
    record.method.parameters = method.parameters_count()
    cost.flops_per_sample = plan.task.flops(method, data)
    cost.peak_memory_bytes = peak_memory(str(fabric.device))
    cost.bytes_communicated = plan.task.bytes_communicated(predictions)
    return predictions


def context(
    plan: Plan,
    data: Any,
    folder: Path,
    fabric: Any,
    checkpoint: Checkpoint,
    progress: Progress,
    log: Callable[[str], None],
) -> Context:
    """What the plan's method may see of the run."""
    ctx = Context(
        seed=plan.seed,
        protocol=plan.protocol,
        profile=plan.profile,
        num_classes=len(data.info.classes),
        in_channels=data.in_channels,
        folder=folder,
        fabric=fabric,
        checkpoint=checkpoint,
        progress=progress,
        log=log,
        curve=checkpoint.curves,
        grid=plan.grid,
        superlink=plan.superlink,
    )
    ctx.probe = plan.task.watch(data, ctx)
    return ctx


def _finish(
    plan: Plan,
    data: Any,
    predictions: Any,
    scored: Scored,
    record: Record,
    folder: Path,
    checkpoint: Checkpoint,
    cost: CostPart,
) -> None:
    import pandas as pd

    buffer = io.BytesIO()
    pd.DataFrame(scored.units).to_parquet(buffer, index=False)
    write_bytes(folder / "units.parquet", buffer.getvalue())
    write_bytes(folder / "config.yaml", _config_yaml(plan, record).encode())
    caption = f"{plan.method_name} on {plan.dataset}, {VARIANTS[record.data.variant]}"
    plan.task.gallery(folder / "gallery", predictions, data, scored, caption)
    plan.task.keep(folder, data, predictions)
    cost.wall_s = checkpoint.elapsed()
    record.cost = cost
    record.metrics = metric_parts(scored)
    record.compared_to = compared(record, plan)
    record.status, record.ended = "done", now()
    record.write(folder / RECORD)
    checkpoint.remove()


def _config_yaml(plan: Plan, record: Record) -> str:
    from omegaconf import OmegaConf

    return OmegaConf.to_yaml(
        OmegaConf.create(
            {
                "task": plan.task_name,
                "method": plan.method_name,
                "dataset": plan.dataset,
                "data": record.data.variant,
                "profile": plan.profile,
                "seed": plan.seed,
                "protocol": plain(plan.protocol, shared=True),
                "method_config": plan.config(),
            }
        )
    )


def _fail(record: Record, folder: Path, log: Callable[[str], None]) -> None:
    log(traceback.format_exc())
    record.status, record.ended = "failed", now()
    record.write(folder / RECORD)


def _failure(plan: Plan, error: Exception, folder: Path) -> str:
    first = (str(error).splitlines() or [""])[0]
    what = f"{type(error).__name__}: {first}"
    return f"`{plan.method_name}` failed: {what}; the traceback is in `{folder / 'log.txt'}`."
