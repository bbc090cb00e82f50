"""A user's own Flower `Strategy` as a method: the task's recipe trains, the strategy draws and aggregates."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, fields, make_dataclass
from typing import Any, ClassVar, cast

from bench.core import Method
from bench.errors import UserError
from bench.federated.flower import Strategy
from bench.federated.strategy import FederatedMethod, Federation

# What the protocol decides, under the names that Flower's strategies give it.
OURS = (
    "fraction_train",
    "fraction_evaluate",
    "min_train_nodes",
    "min_evaluate_nodes",
    "min_available_nodes",
)


@dataclass
class PlainStrategy(FederatedMethod):
    """A Flower strategy under the task's recipe; how many clients it draws is the protocol's to say."""

    target: ClassVar[type[Strategy]]
    options: ClassVar[tuple[str, ...]] = ()

    def strategy(self, federation: Federation) -> Strategy:
        """An instance with the user's options and the protocol's participation."""
        cls = type(self).target
        try:
            made = cls(**{name: getattr(self, name) for name in self.options})
        except Exception as error:  # somebody's constructor may raise anything
            raise UserError(f"`{cls.__name__}()` raises {type(error).__name__}: {error}.") from error
        # Half a client more, so that rounding down gives the number meant.
        values = ((federation.drawn + 0.5) / federation.clients, 0.0, 1, 0, 1)
        for name, value in zip(OURS, values, strict=True):
            if hasattr(made, name):
                setattr(made, name, value)
        return made


def plain_strategy(cls: type, name: str) -> type[Method]:
    """Wrap a Flower strategy class; its plain keyword arguments become fields.

    Raises:
        UserError: `cls` is no strategy class, or cannot be made without arguments.
    """
    from torch import nn

    if isinstance(cls, type) and issubclass(cls, nn.Module):
        raise UserError(
            f"`{name}` is a network, and a federated method is a strategy; train your network with "
            f"`method=fedavg protocol.model=<its file>.py:{name}`."
        )
    if not (isinstance(cls, type) and issubclass(cls, Strategy)):
        raise UserError(
            f"`{name}` is neither a `bench` method nor a Flower strategy; derive it from "
            "`flwr.serverapp.strategy.Strategy` or from `bench.federated.strategy.Weighting`."
        )
    found: dict[str, Any] = {}
    for parameter in inspect.signature(cls).parameters.values():
        if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        if parameter.default is parameter.empty:
            raise UserError(
                f"`{name}` cannot be made without `{parameter.name}`; give it a default, "
                f"and set it with `method.{parameter.name}=`."
            )
        if isinstance(parameter.default, bool | int | float | str) and parameter.name not in OURS:
            found[parameter.name] = parameter.default
    taken = {f.name for f in fields(FederatedMethod)}
    options = [key for key in found if key not in taken]
    node = make_dataclass(
        name,
        [(key, type(found[key]), found[key]) for key in options],
        bases=(PlainStrategy,),
        namespace={"target": cls, "options": tuple(options)},
    )
    node.__module__, node.__doc__ = cls.__module__, cls.__doc__
    return cast(type[Method], node)
