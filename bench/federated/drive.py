"""The engine's loop: rounds of a strategy on a grid, faults counted, every round resumable.

The engine calls `configure_train` and `aggregate_train` itself, so that a killed run continues with the round
after the last finished one. What is random in a round is seeded by (seed, round), in a client by (seed,
round, partition id): nothing depends on where or in which order clients computed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bench import seeding
from bench.core import Context
from bench.errors import RunFailed, UserError
from bench.federated import state as held
from bench.federated.client import network_of
from bench.federated.counted import Counted
from bench.federated.data import TrainSet
from bench.federated.flower import ArrayRecord, ConfigRecord, Grid, Message, MessageType, RecordDict, Strategy
from bench.federated.grids import open_grid
from bench.federated.outcome import Outcome
from bench.federated.recipe import drawn_of, initial_model, recipe_of, steps_of
from bench.federated.screen import arrays_of, size_of, steps_in, usable
from bench.federated.strategy import Federation

COUNTS = ("round", "steps", "bytes_up", "bytes_down", "failed_replies")  # columns of the curves
_MODELS = 64  # clients whose models are asked for at once


def federate(
    make: Callable[[Federation], Strategy], train: TrainSet, ctx: Context, rounds: int | None = None
) -> Outcome:
    """Run a federation to its end.

    Args:
        make: Gives the strategy.
        train: Every client's training data.
        ctx: The run's context; its protocol is a `FederatedProtocol`.
        rounds: Rounds, where they are not the protocol's; every client then takes part in each.

    Returns:
        The models each client is served, and what they cost.

    Raises:
        RunFailed: No client ever returned a usable update.
    """
    recipe = recipe_of(ctx)
    initial = initial_model(recipe, ctx)
    federation = Federation(
        clients=len(train),
        classes=ctx.num_classes,
        drawn=drawn_of(ctx.protocol, len(train)) if rounds is None else len(train),
        rounds=rounds or ctx.protocol.rounds,
        trainable=tuple(name for name, p in network_of(recipe).named_parameters() if p.requires_grad),
        examples=tuple(len(client) for client in train.clients),
        tell=ctx.tell,
    )
    strategy = make(federation)
    with open_grid(ctx, train) as grid:
        run = _Federation(strategy, federation, recipe, initial, grid, ctx)
        run.train()
        return run.outcome()


class _Federation:
    """One run of one strategy on one grid."""

    def __init__(
        self,
        strategy: Strategy,
        federation: Federation,
        recipe: dict[str, Any],
        initial: ArrayRecord,
        grid: Grid,
        ctx: Context,
    ):
        self.strategy, self.federation, self.recipe, self.grid, self.ctx = (
            strategy,
            federation,
            recipe,
            grid,
            ctx,
        )
        self.arrays = initial
        self.like = {name: (tuple(value.shape), value.dtype) for name, value in initial.items()}
        self.at = dict.fromkeys((*COUNTS, "updates", "watched"), 0)
        self.loss = float("nan")
        self.why = "no client was drawn"
        self.personal: dict[int, ArrayRecord] = {}
        epochs = int(getattr(strategy, "personal_epochs", 0))
        self.personal_epochs = epochs
        self.personal_steps = sum(self._steps(client, epochs) for client in range(federation.clients))

    def train(self) -> None:
        """All rounds, from the first or from where a checkpoint stands."""
        if type(self.strategy).start is not Strategy.start:
            self._started_by_itself()
            return
        self._resume()
        resumable = True
        last = self.federation.rounds
        with self.ctx.progress.bar("rounds", last, self.at["round"]) as advance:
            while self.at["round"] < last:
                if not self._round(self.at["round"] + 1):
                    break
                done = self.at["round"]
                if done % self.ctx.protocol.evaluate_every == 0 and done < last:
                    self._watch()
                advance(**({} if np.isnan(self.loss) else {"loss": self.loss}))
                if resumable and self.ctx.checkpoint.due(spaced=False):
                    resumable = self._save()
        if not self.at["updates"]:
            raise RunFailed(f"No client returned a usable update in {self.at['round']} rounds: {self.why}.")
        self._watch()

    def _round(self, number: int) -> bool:
        """One round; False where the step budget has no room for it."""
        seeding.seed_round(self.ctx.seed, number)
        config = self._config(number, "train")
        messages = list(self.strategy.configure_train(number, self.arrays, config, self.grid))
        budget = self.ctx.protocol.max_steps
        cost = sum(self._steps(m.metadata.dst_node_id - 1, self.recipe["local-epochs"]) for m in messages)
        if budget is not None and self.at["steps"] + cost + self.personal_steps > budget:
            if not self.at["updates"]:
                raise RunFailed(
                    f"`protocol.max_steps={budget}` has no room for one round of {cost} steps"
                    + (f" and {self.personal_steps} of personalisation." if self.personal_steps else ".")
                )
            self.ctx.log(f"round {number} would exceed {budget} steps: training ends at {self.at['steps']}")
            return False
        replies = self.send(messages)
        arrays, metrics = self.strategy.aggregate_train(number, replies)
        if arrays is not None:
            self.arrays = arrays
        self.loss = float((metrics or {}).get("train-loss", float("nan")))  # pyright: ignore[reportArgumentType]
        self.at["round"] = number
        if messages and all(reply.has_error() for reply in replies):
            self.ctx.log(f"round {number}: no usable reply, the model stays as it was ({self.why})")
        return True

    def send(self, messages: list[Message]) -> list[Message]:
        """Training messages out, screened replies back, both counted."""
        replies = self._screened(messages)
        good = [reply for reply in replies if not reply.has_error()]
        self.at["updates"] += len(good)
        self.at["steps"] += sum(steps_in(reply) for reply in good)
        self.at["bytes_down"] += sum(size_of(message) for message in messages)
        self.at["bytes_up"] += sum(size_of(reply) for reply in good)
        return replies

    def _screened(self, messages: list[Message]) -> list[Message]:
        """Replies in node order; what no aggregation may see has become an error reply."""
        sent = self.grid.send_and_receive(messages, timeout=self.ctx.protocol.timeout_s)
        replies = []
        for asked, reply in zip(sorted(messages, key=lambda m: m.metadata.dst_node_id), sent, strict=True):
            reply, why = usable(asked, reply, self.like)
            if why:
                self.at["failed_replies"] += 1
                self.why = f"client {asked.metadata.dst_node_id - 1}: {why}"
                self.ctx.log(self.why)
            replies.append(reply)
        return replies

    def _config(self, number: int, purpose: str, **more: Any) -> ConfigRecord:
        return ConfigRecord({**self.recipe, "server-round": number, "purpose": purpose, **more})

    def _steps(self, client: int, epochs: int) -> int:
        size = self.federation.examples[client] if 0 <= client < self.federation.clients else 0
        return steps_of(size, self.ctx.protocol, epochs)

    # ---- models of single clients

    def base(self, client: int) -> ArrayRecord:
        """The model a client trains from: the strategy's for it, else the global one."""
        model_for = getattr(self.strategy, "model_for", None)
        own = model_for(client) if model_for is not None else None
        return self.arrays if own is None else own

    def _each(self, purpose: str, epochs: int) -> dict[int, ArrayRecord]:
        """Every client's model after local epochs from its base; a client that fails keeps its base."""
        found = {}
        config = self._config(self.at["round"], purpose, **{"local-epochs": epochs})
        for start in range(0, self.federation.clients, _MODELS):
            clients = range(start, min(start + _MODELS, self.federation.clients))
            messages = [
                Message(
                    RecordDict({"arrays": self.base(client), "config": config}), client + 1, MessageType.TRAIN
                )
                for client in clients
            ]
            for client, reply in zip(clients, self._screened(messages), strict=True):
                found[client] = self.base(client) if reply.has_error() else arrays_of(reply)
        return found

    def served(self, client: int) -> ArrayRecord:
        """The model a client is served: personal where there is one, else its base."""
        return self.personal.get(client) or self.base(client)

    def _watch(self) -> None:
        """Let the engine look at the present models; it tells the method nothing."""
        seen = self.at["watched"] == self.at["round"]  # training may end right after a point of the curves
        if self.personal_epochs and not (seen and self.personal):
            self.personal = self._each("personalise", self.personal_epochs)
        if seen:
            return
        self.at["watched"] = self.at["round"]
        row: dict[str, float | int] = {name: self.at[name] for name in COUNTS}
        row["steps"] += self.personal_steps
        if not np.isnan(self.loss):
            row["train_loss"] = self.loss
        self.ctx.probe(row, self.served)

    def outcome(self) -> Outcome:
        """Models and facts of the finished run."""
        trained = self._each("trained", self.recipe["local-epochs"])
        facts: dict[str, int | float | None] = {
            "bytes_up": self.at["bytes_up"],
            "bytes_down": self.at["bytes_down"],
            "train_steps": self.at["steps"] + self.personal_steps,
            "failed_replies": self.at["failed_replies"],
        }
        if hasattr(self.strategy, "facts"):
            facts |= self.strategy.facts()  # pyright: ignore[reportAttributeAccessIssue]
        served = {client: self.served(client) for client in range(self.federation.clients)}
        resumable = type(self.strategy).start is Strategy.start and held.state_of(self.strategy) is not None
        return Outcome(served, trained, self.recipe, facts, resumable)

    # ---- resuming

    def _resume(self) -> None:
        """Go back to the last finished round."""
        saved = self.ctx.checkpoint.load()
        if saved is not None:
            self.at = saved["at"]
            self.loss = saved["loss"]
            self.arrays = held.arrays_in(saved["arrays"])
            held.restore(self.strategy, saved["strategy"])
            self.ctx.log(f"resumed after round {self.at['round']}")

    def _save(self) -> bool:
        state = held.state_of(self.strategy)
        if state is None:
            self.ctx.tell(
                f"`{type(self.strategy).__name__}` cannot be resumed: it keeps what no checkpoint can hold; "
                "give it `state_dict` and `load_state_dict`."
            )
            return False
        arrays = held.arrays_out(self.arrays)
        self.ctx.checkpoint.save({"at": self.at, "loss": self.loss, "arrays": arrays, "strategy": state})
        return True

    def _started_by_itself(self) -> None:
        """A strategy with a loop of its own runs it, without checkpoints and without curves."""
        if self.ctx.protocol.max_steps is not None:
            raise UserError(
                f"`{type(self.strategy).__name__}` overrides `start` and cannot be held to "
                f"`protocol.max_steps={self.ctx.protocol.max_steps}`; add `protocol.max_steps=null`."
            )
        self.ctx.tell(
            f"`{type(self.strategy).__name__}` overrides `start`: it runs its own rounds and cannot be "
            f"resumed."
        )
        seeding.seed_round(self.ctx.seed, 1)
        watched = Counted(self.grid, self.send)
        result = self.strategy.start(
            watched,
            self.arrays,
            num_rounds=self.federation.rounds,
            timeout=self.ctx.protocol.timeout_s,
            train_config=self._config(1, "train"),
        )
        if not result.arrays or not self.at["updates"]:
            raise RunFailed(f"The strategy's own rounds ended without a model: {self.why}.")
        self.arrays = result.arrays
        self.at["round"] = self.federation.rounds
        self._watch()
