"""From a composed configuration to one frozen plan: protocol, deviations, method, identity."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from bench import __version__
from bench.config import Grid
from bench.core import DataInfo, Method, Protocol, Task
from bench.errors import UserError
from bench.files import digest, sha256_file, without_folders
from bench.home import runs
from bench.registry import Resolved, load, load_method, split_path
from bench.words import Request, check_family, method_node

SMOKE = "smoke"


@dataclass(frozen=True)
class Plan:
    """Everything one run is, before any data is read."""

    command: str
    task_name: str
    task: Task
    protocol: Any
    deviations: tuple[str, ...]
    profile: str
    dataset: str
    data: str
    data_root: Path | None
    seed: int
    device: str
    rerun: bool
    out: Path
    method: Method | None = None
    found: Resolved | None = None
    predictions: Path | None = None
    label: str = ""
    grid: str = ""
    superlink: str | None = None
    notices: tuple[str, ...] = ()

    @property
    def protocol_hash(self) -> str:
        """SHA-256 over task, profile and every protocol field; a file named by one counts by content."""
        values = plain(self.protocol)
        values = {k: v for k, v in values.items() if v is not None or k not in self.protocol.later}
        for name, value in values.items():
            path, class_name = split_path(value) if isinstance(value, str) else (None, "")
            if path is not None and path.is_file():
                values[name] = [sha256_file(path), class_name]
        return digest({"task": self.task_name, "profile": self.profile, "protocol": values})

    @property
    def method_name(self) -> str:
        """What records, folders and tables call the method."""
        if self.found is None:
            return self.label
        return getattr(self.method, "expression", None) or self.found.name

    def file_sha256(self) -> str | None:
        """SHA-256 of the method's file."""
        return self.found.sha256(self.method_name.split("+")) if self.found else None

    def config(self) -> dict[str, Any]:
        """The method's fields, as a record shows them."""
        return plain(self.method, shared=True) if self.method else {}

    def run_id(self, info: DataInfo, variant: str, content: str = "") -> str:
        """Identity of the run: the same command on the same data and method file gives the same one."""
        parts = {
            "bench": __version__,
            "task": self.task_name,
            "protocol": self.protocol_hash,
            "data": [self.dataset, variant, info.fingerprint, info.split_sha256],
            "method": [self.method_name, self.found.source if self.found else "predictions"],
            "file": self.file_sha256() or content,
            "config": plain(self.method) if self.method else {},
            "seed": self.seed,
            "device": self.device,
            **({"grid": self.grid} if self.grid not in ("", Grid.inprocess) else {}),
        }
        return digest(parts)[:16]


def plain(value: Any, shared: bool = False) -> Any:
    """Dataclasses, enums, tuples and paths as JSON; with `shared`, of a path only its last part."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name), shared) for f in dataclasses.fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Path | str):
        return without_folders(str(value), isinstance(value, Path)) if shared else str(value)
    if isinstance(value, list | tuple):
        return [plain(item, shared) for item in value]
    if isinstance(value, dict):
        return {str(key): plain(item, shared) for key, item in value.items()}
    return value


def make(config: Any, request: Request) -> Plan:
    """Read a composed configuration (with its `hydra` node or under Hydra's job) into a plan.

    Raises:
        UserError: A value out of its range, an unknown dataset, an unknown budget.
    """
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import OmegaConf

    from bench.config import told_plainly

    hydra = HydraConfig.get()
    choices = hydra.runtime.choices
    explicit = {word.partition("=")[0].lstrip("+") for word in hydra.overrides.task}
    config = OmegaConf.masked_copy(config, [key for key in config if key != "hydra"])
    raw = request.restore(OmegaConf.to_container(config, resolve=True, enum_to_str=True))
    task_name = request.tasks[choices["protocol"]]
    task = load("task", task_name).target()
    profile = raw["profile"]
    dataset = raw["dataset"] or task.card.datasets[0]
    if dataset in _other_datasets(task):
        raise UserError(
            f"Dataset `{dataset}` does not belong to task `{task_name}`; "
            f"its datasets are: {', '.join(task.card.datasets)}."
        )
    values = request.restore(OmegaConf.to_container(config.protocol, resolve=True))
    wanted = typed(task.protocol, values)
    protocol, deviations, notices = settle(
        task, wanted, explicit, profile, raw.get("budget", "full"), dataset
    )
    grid = raw.get("grid", "") if "grid" in task.top_level and request.verb == "run" else ""
    if grid == Grid.vmap:
        deviations = (*deviations, "grid: vmap instead of inprocess (many clients as one batch, within 1e-5)")
    method, found = None, None
    if request.verb == "run":
        spec = request.methods[choices["method"]]
        found = load_method(spec)
        check_family(spec, method_node(found, task), task_name, task)
        with told_plainly():
            method = _method(config.method, raw["method"], method_node(found, task))
        if profile == "official":
            make_official(method, explicit)
    if raw.get("seed", 0) < 0:
        raise UserError(f"`seed` takes a whole number from 0, got {raw['seed']}.")
    return Plan(
        command=request.command,
        task_name=task_name,
        task=task,
        protocol=protocol,
        deviations=deviations,
        profile=profile,
        dataset=dataset,
        data=raw["data"],
        data_root=_path(raw["data_root"]),
        seed=raw.get("seed", 0),
        device=raw.get("device", "cpu"),
        rerun=raw["rerun"],
        out=_path(raw["out"]) or runs(),
        method=method,
        found=found,
        predictions=_path(raw.get("predictions")),
        label=raw.get("name") or Path(raw.get("predictions") or "predictions").name or "predictions",
        grid=grid,
        superlink=raw.get("superlink"),
        notices=notices,
    )


def make_official(method: Method, explicit: Collection[str] = ()) -> None:
    """Set the fields of profile `official` on a method, save those in `explicit` (such as `method.lr`)."""
    for name, value in method.official.items():
        if f"method.{name}" not in explicit:
            part, dot, leaf = name.rpartition(".")
            setattr(getattr(method, part) if dot else method, leaf, value)


def _other_datasets(task: Task) -> set[str]:
    from bench.registry import names

    return set(names("dataset")) - set(task.card.datasets)


def _path(value: str | None) -> Path | None:
    return Path(value).expanduser() if value else None


def typed(cls: type[Protocol], values: Any) -> Protocol:
    """A frozen protocol from composed values; OmegaConf returns tuples as lists."""
    fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    return cls(**fields)


def _method(config: Any, raw: dict[str, Any], node: type[Method]) -> Method:
    """Instantiate the method from its composed fields, with placeholders put back."""
    from omegaconf import OmegaConf

    merged = OmegaConf.merge(OmegaConf.structured(node), raw)
    return OmegaConf.to_object(merged)  # pyright: ignore[reportReturnType]


def settle(
    task: Task, wanted: Protocol, explicit: set[str], profile: str, budget: str, dataset: str
) -> tuple[Any, tuple[str, ...], tuple[str, ...]]:
    """The protocol of a profile with the user's overrides and the budget, and what deviates in words.

    Args:
        task: Gives profiles, smoke values and how a budget scales.
        wanted: Protocol fields as composed; those in `explicit` were set by the user.
        explicit: Override keys such as `protocol.epochs`.
        profile: `clean` or `official`.
        budget: `full`, `smoke` or a fraction in (0, 1].
        dataset: Name of the dataset, which may fix fields such as the image size.

    Returns:
        The protocol to run, one sentence for each field that is not the profile's, and those of them that a
        person must be told at the terminal because nobody asked for them.
    """
    chosen = {key.partition(".")[2] for key in explicit if key.startswith("protocol.")}
    base = task.base(profile, dataset, {name: getattr(wanted, name) for name in chosen & set(task.axes)})
    protocol = dataclasses.replace(base, **{name: getattr(wanted, name) for name in chosen})
    reduced = {name: value for name, value in _budget(task, protocol, budget).items() if name not in chosen}
    protocol = dataclasses.replace(protocol, **reduced)
    for name in ("max_steps", "max_val", "max_test"):
        if getattr(protocol, name) is not None and getattr(protocol, name) < 1:
            raise UserError(f"`protocol.{name}` takes a whole number from 1, got {getattr(protocol, name)}.")
    lacking = task.available(protocol)
    for name in chosen & lacking.keys():  # what was asked for is honoured or refused, never replaced
        asked = without_folders(_word(plain(getattr(protocol, name))), False)
        raise UserError(f"`protocol.{name}={asked}` cannot be had here: {lacking[name][1]}")
    protocol = dataclasses.replace(protocol, **{name: value for name, (value, _) in lacking.items()})
    deviations, notices = [], []
    for f in dataclasses.fields(protocol):
        before, after = (plain(getattr(p, f.name)) for p in (base, protocol))
        if before != after:
            because = f" (budget={budget})" if f.name in reduced else ""
            if f.name in lacking:
                because = " (not available on this machine)"
                notices.append(f"`protocol.{f.name}` is {_word(after)}: {lacking[f.name][1]}")
            shown = without_folders(_word(after), False)
            deviations.append(f"{f.name}: {shown} instead of {_word(before)}{because}")
    return protocol, tuple(deviations), tuple(notices)


def _word(value: Any) -> str:
    return "no limit" if value is None else str(value)


def _budget(task: Task, protocol: Protocol, budget: str) -> dict[str, Any]:
    if budget == "full":
        return {}
    if budget == SMOKE:
        return dict(task.smoke)
    try:
        fraction = float(budget)
    except ValueError:
        fraction = 0.0
    if not 0 < fraction <= 1:
        raise UserError(f"`budget` takes full, smoke or a fraction above 0 and up to 1, got `{budget}`.")
    return dict(task.scale(protocol, fraction))
