"""A probabilistic scene grammar whose likelihood is known, for phantoms of scene-graph datasets.

A scene is drawn so: a place; for each class of things a number of them; for each thing each of its parts or
not, joined to it by one edge; between every ordered pair of things at most one relation, drawn independently
given the two classes and the place, and so from every thing to the place; then the nodes are shuffled.

Symbols: n nodes, m_c things of class c. A node order X and a *slot graph* S (things of a class numbered)
belong together in prod_c m_c! ways, each of the n! shuffles being as likely as any other, so
log p(X) = -log n! + sum_c log m_c! + log P(S).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import inf, lgamma, log

import numpy as np
from numpy.typing import NDArray

from bench.graphs.scene import SceneGraph, Vocabulary
from bench.phantoms import scene_tables as tables
from bench.phantoms.scene_boxes import SIZE, boxes_of
from bench.phantoms.scene_tables import Part

NOT_FILTERED = (0, 10**6)
Shares = Mapping[str, float]


@dataclass(frozen=True)
class Grammar:
    """A distribution of scenes; without arguments the built-in one of `bench.phantoms.scene_tables`.

    Args:
        places: Class -> probability; every scene has one node of these.
        things: Place -> class -> probability of 0, 1, 2, ... of it.
        parts: Class of a thing -> what it may have.
        relations: (subject, object) or (place, subject, object) -> predicate -> probability.
        elsewhere: The same for pairs of things that `relations` does not name.

    Raises:
        ValueError: Probabilities that do not sum to 1 (or exceed it), or a class of two roles.
    """

    places: Shares = field(default_factory=lambda: tables.PLACES)
    things: Mapping[str, Mapping[str, Sequence[float]]] = field(default_factory=lambda: tables.THINGS)
    parts: Mapping[str, Sequence[Part]] = field(default_factory=lambda: tables.PARTS)
    relations: Mapping[tuple[str, ...], Shares] = field(default_factory=lambda: tables.RELATIONS)
    elsewhere: Shares = field(default_factory=lambda: tables.ELSEWHERE)

    def __post_init__(self) -> None:
        whole = [self.places.values(), *(pmf for place in self.things.values() for pmf in place.values())]
        whole += [part.predicates.values() for parts in self.parts.values() for part in parts]
        for shares in whole:
            if abs(sum(shares) - 1) > 1e-9 or min(shares) < 0:
                raise ValueError(f"probabilities {list(shares)} do not sum to 1")
        for shares in (*self.relations.values(), self.elsewhere):
            if sum(shares.values()) > 1 + 1e-9 or min(shares.values(), default=0) < 0:
                raise ValueError(f"probabilities {dict(shares)} exceed 1")
        roles = [set(self.places), {name for own in self.things.values() for name in own}]
        roles.append({part.name for parts in self.parts.values() for part in parts})
        if len(set.union(*roles)) < sum(map(len, roles)):
            raise ValueError("a class is two of place, thing and part")
        if any(len({part.name for part in parts}) < len(parts) for parts in self.parts.values()):
            raise ValueError("a thing has two parts of one class")

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """All classes and predicates, sorted by name."""
        objects = {*self.places, *(name for own in self.things.values() for name in own)}
        objects |= {part.name for parts in self.parts.values() for part in parts}
        told = [part.predicates for parts in self.parts.values() for part in parts]
        predicates = {name for shares in (*told, *self.relations.values(), self.elsewhere) for name in shares}
        return Vocabulary(tuple(sorted(objects)), tuple(sorted(predicates)))

    def sample(
        self, count: int, seed: int, filtered: bool = False, least: int = 3, most: int = 25
    ) -> list[SceneGraph]:
        """Draw scenes with boxes, named `1`, `2`, ...; scene i depends on (seed, i) alone.

        Args:
            count: How many.
            seed: Of all of them.
            filtered: Draw again until a scene has `least` to `most` nodes.
            least: Nodes at least, if filtered.
            most: Nodes at most, if filtered.
        """
        limits = (least, most) if filtered else NOT_FILTERED
        return [self._draw(np.random.default_rng([seed, i]), str(i + 1), limits) for i in range(count)]

    def _draw(self, rng: np.random.Generator, name: str, limits: tuple[int, int]) -> SceneGraph:
        while True:
            place = list(self.places)[_pick(rng, list(self.places.values()))]
            kinds = [
                thing for thing, pmf in self.things.get(place, {}).items() for _ in range(_pick(rng, pmf))
            ]
            names, edges = [place, *kinds], []
            for owner, kind in enumerate(kinds, 1):
                for part in self.parts.get(kind, ()):
                    if rng.random() < part.share:
                        edges.append((owner, self._predicate(rng, part.predicates), len(names)))
                        names.append(part.name)
            if limits[0] <= len(names) <= limits[1]:
                break
        for subject, kind in enumerate(kinds, 1):
            for target in range(len(kinds) + 1):
                if subject != target:
                    told = self._predicate(rng, self._shares(place, kind, names[target]))
                    if told:
                        edges.append((subject, told, target))
        boxes = boxes_of(names, edges, len(kinds), self.parts, rng)
        order = rng.permutation(len(names))
        edges = [edges[i] for i in rng.permutation(len(edges))]
        where, vocabulary = np.argsort(order), self.vocabulary
        return SceneGraph(
            np.asarray([vocabulary.objects.index(names[i]) for i in order]),
            np.asarray([(where[s], where[o]) for s, _, o in edges], np.int64),
            np.asarray([vocabulary.predicates.index(told) for _, told, _ in edges], np.int64),
            name,
            boxes[order],
            size=SIZE,
        )

    def _predicate(self, rng: np.random.Generator, shares: Shares) -> str:
        """One of the predicates, or an empty text with what is left of the probability."""
        draw = rng.random()
        for name, share in shares.items():
            draw -= share
            if draw < 0:
                return name
        # Where nothing is left of it, the sum may still miss 1 by rounding.
        return list(shares)[-1] if sum(shares.values()) > 1 - 1e-9 else ""

    def _shares(self, place: str, subject: str, target: str) -> Shares:
        """Predicate -> probability of a relation from a thing to a thing or to the place."""
        for key in ((place, subject, target), (subject, target)):
            if key in self.relations:
                return self.relations[key]
        return {} if target in self.places else self.elsewhere

    def log_prob(self, graph: SceneGraph, filtered: bool = False, least: int = 3, most: int = 25) -> float:
        """Log-probability, in nats, of the graph with its nodes in this very order; -inf if impossible.

        The probability of the graph whatever the order is that of its orders together: n! over the number of
        its automorphisms times as much. The order of edges and the boxes do not matter.

        Args:
            graph: In `vocabulary`.
            filtered: Given that a graph has `least` to `most` nodes.
            least: Nodes at least, if filtered.
            most: Nodes at most, if filtered.
        """
        n = len(graph)
        value = self._log_slots(graph)
        if value == -inf or (filtered and not least <= n <= most):
            return -inf
        value -= lgamma(n + 1)
        return value - (log(self.size_probabilities()[least : most + 1].sum()) if filtered else 0.0)

    def _log_slots(self, graph: SceneGraph) -> float:
        """Return log P(S) + sum_c log m_c!."""
        names = [self.vocabulary.objects[label] for label in graph.labels]
        found = [i for i, name in enumerate(names) if name in self.places]
        edges = {
            (s, o): self.vocabulary.predicates[p]
            for (s, o), p in zip(graph.edges.tolist(), graph.predicates.tolist(), strict=True)
        }
        if len(found) != 1 or len(edges) != len(graph.edges):
            return -inf
        at, place = found[0], names[found[0]]
        own = self.things.get(place, {})
        classes = {name for counts in self.things.values() for name in counts}
        kinds = [i for i, name in enumerate(names) if name in classes]
        value = _log(self.places[place])
        for name in {names[i] for i in kinds} | set(own):
            count, pmf = sum(names[i] == name for i in kinds), own.get(name, (1.0,))
            if count >= len(pmf):
                return -inf
            value += _log(pmf[count]) + lgamma(count + 1)
        value += self._log_parts(names, kinds, at, edges)
        for s in kinds:
            for o in (*kinds, at):
                if s != o:
                    shares = self._shares(place, names[s], names[o])
                    told = edges.pop((s, o), None)
                    value += _log(shares.get(told, 0.0) if told else 1 - sum(shares.values()))
        return -inf if edges else value  # an edge is left that no rule makes

    def _log_parts(
        self, names: list[str], kinds: list[int], at: int, edges: dict[tuple[int, int], str]
    ) -> float:
        """Log-probability of the parts; takes their edges out of `edges`."""
        value, has = 0.0, {i: set() for i in kinds}
        for i in set(range(len(names))) - {*kinds, at}:
            owners = [s for s, o in edges if o == i]
            if len(owners) != 1 or owners[0] not in has or names[i] in has[owners[0]]:
                return -inf
            has[owners[0]].add(names[i])
            rules = {part.name: part for part in self.parts.get(names[owners[0]], ())}
            if names[i] not in rules:
                return -inf
            value += _log(rules[names[i]].predicates.get(edges.pop((owners[0], i)), 0.0))
        for i in kinds:
            for part in self.parts.get(names[i], ()):
                value += _log(part.share if part.name in has[i] else 1 - part.share)
        return value

    def size_probabilities(self) -> NDArray[np.float64]:
        """P(n) for n = 0, 1, ... up to the largest scene there can be, exactly, by convolution."""
        found = np.zeros(1)
        for place, share in self.places.items():
            sizes = np.array([0.0, share])
            for thing, pmf in self.things.get(place, {}).items():
                one = np.array([0.0, 1.0])
                for part in self.parts.get(thing, ()):
                    one = np.convolve(one, [1 - part.share, part.share])
                many, power = np.zeros(1), np.ones(1)
                for chance in pmf:
                    many = _added(many, chance * power)
                    power = np.convolve(power, one)
                sizes = np.convolve(sizes, many)
            found = _added(found, sizes)
        return found


def _added(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    found = np.zeros(max(len(a), len(b)))
    found[: len(a)] += a
    found[: len(b)] += b
    return found


def _log(share: float) -> float:
    return log(share) if share > 0 else -inf


def _pick(rng: np.random.Generator, shares: Sequence[float]) -> int:
    """A position by inverse distribution function."""
    below = np.cumsum(shares) <= rng.random() * sum(shares)
    return min(int(below.sum()), len(shares) - 1)
