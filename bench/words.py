"""From words such as `task=oct method.lr=3e-4` to a request: every word checked, overrides for Hydra.

Names and paths are taken off the command line verbatim before Hydra sees it (its grammar would choke on
spaces, commas and brackets); they stand in the overrides as placeholders and are put back afterwards.
"""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

from bench.config import RunConfig, ScoreConfig, register
from bench.core import Method, Task
from bench.errors import MissingExtra, UserError, suggest
from bench.files import safe_name, without_folders
from bench.registry import Resolved, card, load, load_method, names, split_path

PATHS = ("data_root", "out", "predictions")
VERBATIM = (*PATHS, "dataset", "name", "superlink")
LAUNCHERS = {  # value of `hydra/launcher` -> extra, plugin
    "joblib": ("joblib", "hydra_plugins.hydra_joblib_launcher"),
    "submitit_slurm": ("slurm", "hydra_plugins.hydra_submitit_launcher"),
    "submitit_local": ("slurm", "hydra_plugins.hydra_submitit_launcher"),
    "ray": ("ray", "hydra_plugins.hydra_ray_launcher"),
}


@dataclass
class Request:
    """A parsed command line; it pickles, so that launchers can carry it to other processes.

    Args:
        verb: `run` or `score`.
        command: The command as shown in records: no absolute path, no folder name above a file's own.
        tasks: Group choice -> task name.
        methods: Group choice -> method as the user named it.
        held: Placeholder -> the verbatim value it stands for.
        overrides: What Hydra gets.
    """

    verb: str
    command: str
    tasks: dict[str, str] = field(default_factory=dict)
    methods: dict[str, str] = field(default_factory=dict)
    held: dict[str, str] = field(default_factory=dict)
    overrides: list[str] = field(default_factory=list)

    def hold(self, value: str) -> str:
        """Put a value aside and return its placeholder."""
        token = f"__verbatim_{len(self.held)}__"
        self.held[token] = value
        return token

    def restore(self, value: Any) -> Any:
        """Replace placeholders anywhere inside a container."""
        if isinstance(value, dict):
            return {key: self.restore(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.restore(item) for item in value]
        return self.held.get(value, value) if isinstance(value, str) else value


def parse(verb: str, words: list[str], multirun: bool = False) -> Request:
    """Check every word and prepare Hydra's overrides.

    Raises:
        UserError: A word that is no `key=value`, an unknown key, a missing or unknown task or method, or a
            method of another family than the task.
    """
    given = [_pair(word, verb) for word in words]
    request = Request(verb, shown(verb, given, multirun))
    keys = [key for key, _ in given]
    for key in keys:
        if keys.count(key) > 1:
            raise UserError(f"`{key}=` is given {keys.count(key)} times; give it once.")
    values = dict(given)
    needed = ("task", "method") if verb == "run" else ("task", "predictions")
    for key in needed:
        if not values.get(key):
            options = names(key) if key in ("task", "method") else []
            shown_options = f"; one of {', '.join(options)}" if options else ""
            raise UserError(f"`bench {verb}` needs `{key}=`{shown_options}.")
    tasks = [(name, _task(name)) for name in _split(values["task"], multirun)]
    methods = [(spec, load_method(spec)) for spec in _split(values.get("method", ""), multirun) if spec]
    nodes = [(spec, method_node(found, task)) for spec, found in methods for _, task in tasks[:1]]
    for spec, node in nodes:
        for name, task in tasks:
            check_family(spec, node, name, task)
            task.admit(spec, node)
    request.tasks = _choices([name for name, _ in tasks])
    request.methods = _choices([spec for spec, _ in nodes])
    register(
        verb,
        dict(zip(request.tasks, [task.protocol for _, task in tasks], strict=True)),
        dict(zip(request.methods, [node for _, node in nodes], strict=True)),
    )
    schema = _Schema(verb, tasks, nodes)
    for key, value in given:
        request.overrides.append(_override(request, schema, key, value, multirun))
    return request


def _pair(word: str, verb: str) -> tuple[str, str]:
    key, equals, value = word.partition("=")
    if not equals or not key:
        raise UserError(f"`{word}` is no `key=value`; write for instance `bench {verb} task=oct seed=1`.")
    return key, value


def _split(value: str, multirun: bool) -> list[str]:
    return value.split(",") if multirun else [value]


def _task(name: str) -> Task:
    return load("task", name).target()


def method_node(found: Resolved, task: Task) -> type[Method]:
    """The class whose fields are the method's configuration.

    A plain class is adapted by the task, an expression put together by it.
    """
    if found.parts:
        nodes = [(part.name, method_node(part, task)) for part in found.parts]
        if any(node.family != task.family for _, node in nodes):
            return next(node for _, node in nodes if node.family != task.family)
        return task.compose(nodes)
    if issubclass(found.target, Method):
        return found.target
    return task.adapt(found.target, found.target.__name__)


def family_of(target: type) -> str:
    """The family of a class: of a plain one by what it is or has, else it counts as a network."""
    if issubclass(target, Method):
        return target.family
    if hasattr(target, "meta_fit") and hasattr(target, "adapt"):
        return "fewshot_segmentation"
    if hasattr(target, "fit") and hasattr(target, "sample"):
        return "graph_generation"
    # By name: importing Flower to ask costs half a second.
    flower = any(cls.__module__.startswith("flwr.") for cls in target.__mro__)
    return "federated_classification" if flower else "segmentation"


def check_family(spec: str, node: type[Method], name: str, task: Task) -> None:
    """Refuse a method of another family, naming those that would fit."""
    if node.family != task.family:
        fitting = [other for other in names("method") if card("method", other).family == task.family]
        raise UserError(
            f"Method `{spec}` is of the family {node.family or 'none'}, task `{name}` needs {task.family}; "
            f"these fit: {', '.join(fitting)}."
        )


def field_names(node: type) -> list[str]:
    """Fields a word may set; those of a method's parts as `part.field`."""
    found = []
    for f in fields(node):
        kind = get_type_hints(node).get(f.name)
        nested = kind if isinstance(kind, type) and is_dataclass(kind) else None
        found += [f"{f.name}.{name}" for name in field_names(nested)] if nested else [f.name]
    return found


def _choices(specs: list[str]) -> dict[str, str]:
    """A name that Hydra's grammar takes for each spec."""
    found: dict[str, str] = {}
    for spec in specs:
        path, class_name = split_path(spec)
        choice = re.sub(r"[^A-Za-z0-9_]", "_", safe_name(class_name or path.stem if path else spec))
        found[choice if choice not in found else f"{choice}_{len(found)}"] = spec
    return found


def _choice_of(choices: dict[str, str], spec: str) -> str:
    return next(choice for choice, named in choices.items() if named == spec)


@dataclass
class _Schema:
    """Every key a command may set."""

    verb: str
    tasks: list[tuple[str, Task]]
    nodes: list[tuple[str, type[Method]]]

    def engine(self) -> list[str]:
        base = RunConfig if self.verb == "run" else ScoreConfig
        hidden = {"protocol", "method"}
        if not all("grid" in task.top_level for _, task in self.tasks):
            hidden |= {"grid", "superlink"}
        own = [f.name for f in fields(base) if f.name not in hidden]
        return ["task", *(["method"] if self.verb == "run" else []), *own]

    def aliases(self) -> set[str]:
        """Protocol fields that every chosen task lets stand at top level."""
        shared = set.intersection(*({*task.top_level, "precision"} for _, task in self.tasks))
        return shared - set(self.engine())

    def owners(self, group: str) -> list[tuple[str, type]]:
        if group == "protocol":
            return [(f"task `{name}`", task.protocol) for name, task in self.tasks]
        return [(f"method `{spec}`", node) for spec, node in self.nodes]

    def check(self, key: str) -> None:
        group, dot, name = key.partition(".")
        if dot and group in ("protocol", "method") and self.owners(group):
            for owner, node in self.owners(group):
                options = field_names(node)
                if name not in options:
                    raise UserError(
                        f"No field `{name}` in `{group}` of {owner}.{suggest(name, options)} "
                        f"Its fields are: {', '.join(options)}."
                    )
            return
        options = [*self.engine(), *sorted(self.aliases())]
        if key not in options:
            dotted = [
                f"{group}.{name}"
                for group in ("protocol", "method")
                for _, node in self.owners(group)
                for name in field_names(node)
            ]
            exact = [name for name in dotted if name.endswith(f".{key}")]
            hint = f" Did you mean `{exact[0]}`?" if exact else suggest(key, [*options, *dotted])
            raise UserError(
                f"`bench {self.verb}` has no key `{key}`.{hint} "
                f"The keys are: {', '.join(options)}, `protocol.<field>`"
                + (" and `method.<field>`." if self.nodes else ".")
            )

    def is_path(self, key: str) -> bool:
        group, _, name = key.partition(".")
        return any(get_type_hints(node).get(name) in (Path, Path | None) for _, node in self.owners(group))


def _override(request: Request, schema: _Schema, key: str, value: str, multirun: bool) -> str:
    if multirun and key.startswith(("hydra/", "hydra.")):
        extra, plugin = LAUNCHERS.get(value, ("", ""))
        if key == "hydra/launcher" and plugin and not importable(plugin):
            raise MissingExtra(f"`hydra/launcher={value}`", extra)
        return f"{key}={value}"
    if key in schema.aliases():
        key = f"protocol.{key}"
    schema.check(key)
    if key == "task":
        return "protocol=" + ",".join(_choice_of(request.tasks, v) for v in _split(value, multirun))
    if key == "method":
        return "method=" + ",".join(_choice_of(request.methods, v) for v in _split(value, multirun))
    if key in VERBATIM or schema.is_path(key) or any(split_path(v)[0] for v in _split(value, multirun)):
        listed = _split(value, multirun and key != "superlink")
        parts = [str(Path(v).expanduser()) if v.startswith("~") else v for v in listed]
        return f"{key}=" + ",".join(request.hold(part) for part in parts)
    return f"{key}={value}"


def importable(module: str) -> bool:
    """Whether a module is installed, without importing it."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def shown(verb: str, given: list[tuple[str, str]], multirun: bool) -> str:
    """The command as a record may show it: of a path only its last part."""
    words = []
    for key, value in given:
        if key == "superlink":  # a host name does not belong into a shared record
            words.append("superlink=...")
            continue
        parts = [without_folders(part, key in PATHS) for part in _split(value, multirun)]
        words.append(f"{key}={','.join(parts)}")
    return " ".join(["bench", verb, *(["-m"] if multirun else []), *words])
