"""Few-shot methods: learn from sources once, then adapt to each support; a killed run goes on.

A user's own method subclasses `FewShotMethod` and writes `meta_fit` and `adapt`, or subclasses
`NetworkMethod`, which has a network and adapts it by the protocol's recipe.
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, make_dataclass, replace
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from bench import seeding
from bench.checkpoint import Checkpoint
from bench.core import Context, Method
from bench.errors import RunFailed
from bench.fewshot import reuse
from bench.fewshot.finetune import fine_tune
from bench.nn.fit import evaluating
from bench.nn.unet_cells import build_network, tried
from bench.volumes.slices import SliceSet, Source

Predictor = Callable[[Tensor], Tensor]
SETUP, META, ADAPT = 1, 2, 3  # what the global generators are seeded for


@dataclass(frozen=True)
class FewShotTrain:
    """What a few-shot method learns from.

    Args:
        sources: Datasets to meta-train on.
        supports: Labelled slices of the target, one set a shot selection.
        fingerprint: SHA-256 over the sources' slices.
    """

    sources: tuple[Source, ...]
    supports: tuple[SliceSet, ...]
    fingerprint: str = ""


class Stage:
    """The run's checkpoint as one stage of `fit` sees it: `due`, `save` and `load` a state of its own.

    Args:
        root: The run's checkpoint.
        kept: What `fit` saves; the stage's part stands in it under `name`.
        name: Of the stage.
    """

    def __init__(self, root: Checkpoint, kept: dict[str, Any], name: str):
        self.root, self.kept, self.name = root, kept, name

    def due(self, spaced: bool = True) -> bool:
        """As `Checkpoint.due`."""
        return self.root.due(spaced)

    def save(self, state: dict[str, Any]) -> None:
        """Save tensors and plain values, with the state of every generator."""
        self.kept["stages"][self.name] = copy.deepcopy({"state": state, "rng": seeding.state()})
        self.root.save(self.kept)

    def load(self) -> dict[str, Any] | None:
        """The stage's last saved state with generators put back, or None."""
        saved = self.kept["stages"].get(self.name)
        if saved is None:
            return None
        seeding.restore(saved["rng"])
        return copy.deepcopy(saved["state"])

    def elapsed(self) -> float:
        """Seconds of the run so far."""
        return self.root.elapsed()


@dataclass
class FewShotMethod(Method):
    """Learn from sources, adapt to each support, answer by what adapting returned.

    Global generators are seeded at the start of `meta_fit` and of every `adapt`, for every selection alike,
    so that a stage does not depend on whether those before it were computed or read from a checkpoint. Both
    may use `ctx.checkpoint` (`due`, `save`, `load`) for a state of their own. After a kill, `meta_fit` is
    called again unless `keep` returned something; adapted `nn.Module`s of the class of `self.net` are put
    back.
    """

    family: ClassVar[str] = "fewshot_segmentation"
    shares: ClassVar[bool] = False  # `meta_fit` reads nothing of the protocol that `reuse.ADAPTING` names

    def setup(self, ctx: Context) -> None:
        """Make what both stages need, such as the network; called first, resumed or not."""

    @abstractmethod
    def meta_fit(self, sources: Sequence[Source], ctx: Context) -> None:
        """Learn from the sources; keep what `adapt` needs on `self`."""

    @abstractmethod
    def adapt(self, support: SliceSet, ctx: Context) -> Predictor:
        """A predictor, (B, 1, H, W) float32 -> logits (B, 1, H, W), from labelled slices of the target.

        It must not be changed by adapting to the next support. An `nn.Module` is such a callable.
        """

    def keep(self) -> dict[str, Any] | None:
        """What `meta_fit` left on `self`, as tensors and plain values; None to have it called again."""
        return None

    def put_back(self, kept: dict[str, Any]) -> None:
        """Undo `keep`."""
        raise NotImplementedError(f"{type(self).__name__} has `keep` but no `put_back`")

    def fit(self, train: FewShotTrain, val: SliceSet, ctx: Context) -> None:
        """Learn from the sources once, adapt to every support. The recipe has no use for `val`."""
        kept = ctx.checkpoint.load() or {"learned": None, "adapted": {}, "stages": {}}
        seeding.seed_round(ctx.seed, SETUP)
        self.setup(ctx)
        seeding.seed_round(ctx.seed, META)
        if kept["learned"] is None:
            kept["learned"] = self._learn(train, kept, ctx)
            if kept["learned"] is not None:
                kept["stages"].pop("meta", None)
                ctx.checkpoint.save(kept)
        else:
            self.put_back(kept["learned"])
        self.predictors: list[Predictor] = []
        for number, support in enumerate(ctx.progress(train.supports, "selections")):
            predictor = self._read(kept["adapted"], number)
            if predictor is None:
                seeding.seed_round(ctx.seed, ADAPT)
                name = f"adapt {number}"
                predictor = self.adapt(support, _staged(ctx, kept, name))
                kept["stages"].pop(name, None)
                if isinstance(predictor, nn.Module):
                    state = {"kind": type(predictor).__qualname__, "weights": predictor.state_dict()}
                    kept["adapted"][number] = copy.deepcopy(state)
                    ctx.checkpoint.save(kept)
            self.predictors.append(predictor)

    def predict(self, x: tuple[int, Tensor]) -> Tensor:
        """Probabilities of foreground by the predictor of a selection.

        Args:
            x: Selection, counted from 0, and images (B, 1, H, W) float32.

        Returns:
            (B, 1, H, W) float32 on the CPU.

        Raises:
            RunFailed: The predictor does not answer by logits (B, 1, H, W).
        """
        selection, images = x
        predictor = self.predictors[selection]
        if isinstance(predictor, nn.Module):
            first = next(predictor.parameters(), images)
            with evaluating(predictor):
                y = predictor(images.to(first.device))
        else:
            with torch.inference_mode():
                y = predictor(images)
        if not isinstance(y, Tensor) or y.shape != images.shape:
            got = tuple(y.shape) if isinstance(y, Tensor) else type(y).__name__
            shape = tuple(images.shape)
            raise RunFailed(
                f"What `adapt` returned must answer images {shape} by logits of that shape, got {got}."
            )
        return y.float().sigmoid().cpu()

    def parameters_count(self) -> int | None:
        """Trainable parameters of the adapted network, or None where there is none."""
        net = next(iter(getattr(self, "predictors", [])), None) or getattr(self, "net", None)
        if not isinstance(net, nn.Module):
            return None
        return sum(p.numel() for p in net.parameters() if p.requires_grad)

    def _learn(self, train: FewShotTrain, kept: dict[str, Any], ctx: Context) -> dict[str, Any] | None:
        """What `keep` says after `meta_fit`, called now or in an earlier run of the same."""
        name = reuse.key(self, train.fingerprint, ctx) if self.shares and train.fingerprint else ""
        found = reuse.read(name) if name and not kept["stages"] else None
        if found is not None:
            ctx.tell(
                "Meta-trained weights of an earlier run with the same sources, seed and settings are used "
                f"again; the {found['seconds']:.0f} s they took count as this run's."
            )
            self.put_back(found["state"])
            ctx.checkpoint.spent_s += found["seconds"]
            return copy.deepcopy(found["state"])
        start = ctx.checkpoint.elapsed()
        self.meta_fit(train.sources, _staged(ctx, kept, "meta"))
        state = copy.deepcopy(self.keep())
        if name and state is not None:
            # Seconds before a kill are in the run's time but not in `start`'s difference: take all so far.
            reuse.write(
                name, state, ctx.checkpoint.elapsed() if kept["stages"] else ctx.checkpoint.elapsed() - start
            )
        return state

    def _read(self, adapted: dict[int, dict[str, Any]], number: int) -> nn.Module | None:
        """An adapted network from a checkpoint, or None where it must be adapted anew."""
        net = getattr(self, "net", None)
        if number not in adapted or not isinstance(net, nn.Module):
            return None
        kind, weights = adapted[number]["kind"], adapted[number]["weights"]
        shapes = {name: value.shape for name, value in net.state_dict().items()}
        if kind != type(net).__qualname__ or shapes != {name: v.shape for name, v in weights.items()}:
            return None
        found = copy.deepcopy(net)
        found.load_state_dict(weights)
        return found


@dataclass
class NetworkMethod(FewShotMethod):
    """The protocol's network, meta-trained by a subclass or not at all, then trained on each support."""

    def build(self, ctx: Context) -> nn.Module:
        """The untrained network, (B, 1, H, W) -> logits (B, 1, H, W)."""
        return build_network(ctx.protocol.network, tuple(ctx.protocol.image_size))

    def setup(self, ctx: Context) -> None:
        """Build the network; its weights are a function of the run's seed."""
        self.net = self.build(ctx).to(ctx.fabric.device)

    def meta_fit(self, sources: Sequence[Source], ctx: Context) -> None:
        """Nothing: the network stays as drawn."""

    def adapt(self, support: SliceSet, ctx: Context) -> Predictor:
        """A copy of the network, trained on the support by the protocol's recipe."""
        net = copy.deepcopy(self.net)
        fine_tune(net, support, ctx)
        return net

    def keep(self) -> dict[str, Any] | None:
        """The network's weights."""
        return self.net.state_dict()

    def put_back(self, kept: dict[str, Any]) -> None:
        """Load the network's weights."""
        self.net.load_state_dict(kept)


@dataclass
class PlainFewShot(NetworkMethod):
    """A user's `nn.Module`, trained on each support from its own initialisation."""

    network: ClassVar[Callable[..., nn.Module]]
    options: ClassVar[tuple[str, ...]] = ()

    def build(self, ctx: Context) -> nn.Module:
        """Call the user's class as `(1, 1)`."""
        options = {name: getattr(self, name) for name in self.options}
        make = type(self).network
        return tried(lambda c, k: make(c, k, **options), type(self).__name__, tuple(ctx.protocol.image_size))


def plain_fewshot(cls: type, name: str) -> type[Method]:
    """Wrap an `nn.Module` class; its further keyword arguments with defaults become fields.

    Raises:
        UserError: `cls` is no `nn.Module` class or cannot be called as `(in_channels, num_classes)`.
    """
    from bench.families.plain import plain_net

    wrapped: Any = plain_net(cls, name)  # the rules for a plain network are the same in both families
    node = make_dataclass(
        name,
        [(f.name, f.type, f.default) for f in fields(wrapped) if f.name in wrapped.options],
        bases=(PlainFewShot,),
        namespace={"network": cls, "options": wrapped.options},
    )
    node.__module__, node.__doc__ = cls.__module__, cls.__doc__
    return cast(type[Method], node)


def _staged(ctx: Context, kept: dict[str, Any], name: str) -> Context:
    return replace(ctx, checkpoint=cast(Checkpoint, Stage(ctx.checkpoint, kept, name)))
