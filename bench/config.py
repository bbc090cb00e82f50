"""The configuration Hydra composes: schema, composition, sweeps, its errors told in one sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, make_dataclass
from enum import StrEnum
from typing import Any, get_type_hints

from bench.core import Method, Protocol
from bench.errors import UserError

CONFIG = "bench"


class DataChoice(StrEnum):
    """Which data: what is there, or one kind insisted on."""

    auto = "auto"
    real = "real"
    phantom = "phantom"


class Profile(StrEnum):
    """The correct definition, or what the published code computed."""

    clean = "clean"
    official = "official"


class Grid(StrEnum):
    """What computes the clients of a federation; `vmap` alone changes numbers, in the fifth digit."""

    inprocess = "inprocess"
    vmap = "vmap"
    flower = "flower"
    deployment = "deployment"


@dataclass
class RunConfig:
    """The words of `bench run` with their defaults; `protocol` and `method` hold the chosen ones' fields."""

    dataset: str | None = None
    data: DataChoice = DataChoice.auto
    data_root: str | None = None
    profile: Profile = Profile.clean
    budget: str = "full"
    seed: int = 0
    device: str = "auto"
    rerun: bool = False
    out: str | None = None
    grid: Grid = Grid.inprocess
    superlink: str | None = None
    protocol: Any = None
    method: Any = None


@dataclass
class ScoreConfig:
    """The words of `bench score`."""

    predictions: str | None = None
    name: str | None = None
    dataset: str | None = None
    data: DataChoice = DataChoice.auto
    data_root: str | None = None
    profile: Profile = Profile.clean
    rerun: bool = False
    out: str | None = None
    protocol: Any = None


def register(verb: str, protocols: dict[str, type[Protocol]], methods: dict[str, type[Method]]) -> None:
    """Make the chosen tasks' protocols and methods known to Hydra as options of two groups."""
    from hydra.core.config_store import ConfigStore

    store = ConfigStore.instance()
    # The first of each is the default: Hydra composes once without the swept choices before it sweeps.
    defaults: list[Any] = ["bench_schema", "_self_", {"protocol": next(iter(protocols))}]
    for name, protocol in protocols.items():
        store.store(group="protocol", name=name, node=thawed(protocol))
    for name, method in methods.items():
        store.store(group="method", name=name, node=method)
    if methods:
        defaults.append({"method": next(iter(methods))})
    store.store(name="bench_schema", node=RunConfig if verb == "run" else ScoreConfig)
    store.store(name=CONFIG, node={"defaults": defaults, "hydra": quiet_hydra()})


def thawed(cls: type[Protocol]) -> type:
    """A twin of a frozen protocol that overrides can be merged into; OmegaConf keeps frozen ones closed."""
    hints, defaults = get_type_hints(cls), cls()
    twins = []
    for f in fields(cls):
        value = getattr(defaults, f.name)
        twins.append((f.name, hints[f.name], field(default_factory=lambda value=value: value)))
    return make_dataclass(cls.__name__, twins)


def quiet_hydra() -> dict[str, Any]:
    """Hydra settings under which it writes nothing to the user's folder and configures no logging."""
    from bench.home import home

    sweeps = str(home() / "sweeps")
    return {
        "output_subdir": None,
        "job": {"chdir": False},
        "run": {"dir": sweeps},
        "sweep": {"dir": sweeps},
    }


def compose(overrides: list[str]) -> Any:
    """Compose one configuration.

    Raises:
        UserError: A value of the wrong type, in one sentence.
    """
    import hydra
    from hydra.core.hydra_config import HydraConfig

    with told_plainly(), hydra.initialize(version_base="1.3", config_path=None):
        config = hydra.compose(CONFIG, overrides=overrides, return_hydra_config=True)
        HydraConfig.instance().set_config(config)
    return config


def sweep(overrides: list[str], job: Callable[[Any], int]) -> list[int]:
    """Run `job` for every combination through the Hydra launcher that was chosen; return exit codes."""
    from hydra._internal.hydra import Hydra
    from hydra._internal.utils import create_config_search_path
    from hydra.core.global_hydra import GlobalHydra

    hydra = Hydra.create_main_hydra2("bench", create_config_search_path(None))
    try:
        with told_plainly():
            batches = hydra.multirun(CONFIG, job, overrides, with_log_configuration=False)
            return [result.return_value for batch in batches for result in batch]
    finally:
        GlobalHydra.instance().clear()


@contextmanager
def told_plainly() -> Iterator[None]:
    """Turn Hydra's and OmegaConf's errors into one sentence each."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(_plain(error)) from error


def _plain(error: Exception) -> str:
    cause = error.__cause__ or error
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    if (override := getattr(error, "override", None)) is not None:
        return f"`{override}` cannot be read: {lines[0]}; put a value with special characters in quotes."
    where = next((line.removeprefix("full_key: ") for line in lines if line.startswith("full_key: ")), "")
    what = lines[0].rstrip(".") if lines else type(error).__name__
    return (
        f"`{where}`: {what}; `bench show <task or method>` lists fields and types." if where else f"{what}."
    )
