"""SceneGraphGen: sequences of nodes and edges, where edges see the classes they join.  Garg et al. 2021."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bench.card import Card, Difference
from bench.nn.graph_method import SequenceMethod
from bench.nn.graph_training import EdgeSchedule

CARD = Card(
    title="SceneGraphGen",
    family="graph_generation",
    summary="GRUs draw node after node and its edges to earlier nodes, which see the classes they join.",
    citation="Garg, Dhamo, Farshad, Musatian, Navab, Tombari: Unconditional Scene Graph Generation. ICCV "
    "2021; Farshad, thesis, chapter 10.",
    url="https://scenegraphgen.github.io",
    licence="Apache-2.0 (reimplemented; no official code used)",
    differences=(
        Difference(
            switch="method.drop_last",
            clean="false: a drawn graph keeps all its nodes",
            official="true: the last node is left out; sequences of 1 or 2 nodes, or that have not ended "
            "after 24, are drawn again, so that graphs have 2 to 23 nodes",
            why="On the end token at step i the generator returns nodes 0 to i-1 although node i exists.",
            source="usggen/generate.py; scene_graph_generation.md 5.1",
        ),
        Difference(
            switch="method.edge_schedule",
            clean="decays: node and edge part follow one schedule",
            official="constant: the edge part keeps its first learning rate, the node part decays twice as "
            "fast",
            why="The code steps the scheduler of the nodes in place of that of the edges.",
            source="usggen/train.py; scene_graph_generation.md 5.3; thesis 10.4.1",
        ),
        Difference(
            switch="method.stored_prior",
            clean="false: under BFS the first node of the sampler is that of the BFS order",
            official="true: that of the stored order",
            why="The function that counts first nodes orders a graph and then looks at the one before.",
            source="usggen/data.py prior_distribution; scene_graph_generation.md 6",
        ),
        Difference(
            switch="method.node_history",
            clean="nodes: the GRU over nodes reads the class of the last node alone",
            official="the same",
            why="The text lets all three GRUs read nodes and edges (`all`), the released weights do not.",
            source="thesis 10.3.2; usggen/model.py; scene_graph_generation.md 5.4",
        ),
        Difference(
            switch="method.learn_embeddings",
            clean="false: embeddings are drawn once and stay",
            official="the same",
            why="The text says that nodes and edges are embedded and not that the embeddings are never "
            "trained.",
            source="thesis 10.4.1; usggen/model.py; scene_graph_generation.md 5.7",
        ),
        Difference(
            switch="none: first node",
            clean="expected counts over all orders, plus one graph spread over all classes",
            official="the same",
            why="The code counts ten passes over the training graphs, so a class may have probability 0 and "
            "a graph that begins with it an infinite likelihood; the expectation needs no passes.",
            source="thesis 10.3.2; usggen/data.py prior_distribution",
        ),
        Difference(
            switch="none: ranks of the hierarchical ordering",
            clean="a list written by hand for the vocabularies at hand; other names have rank 2",
            official="the same",
            why="The text names what each of three ranks holds; no list in it could be taken over.",
            source="thesis 10.4.1; scene_graph_generation.md 1",
        ),
    ),
    notes="3,209,469 trained parameters at 150 objects, 50 predicates and 25 nodes. A likelihood is that of "
    "a sequence in an order drawn as in training, the end included; after `protocol.max_nodes` nodes the end "
    "is certain and costs nothing.",
)


@dataclass
class SceneGraphGen(SequenceMethod):
    """Edges see the classes of both nodes, and the one that leaves a node the one that arrives."""

    card: ClassVar[Card] = CARD
    official: ClassVar = {
        "drop_last": True,
        "edge_schedule": EdgeSchedule.constant,
        "stored_prior": True,
    }
    node_aware: ClassVar[bool] = True
