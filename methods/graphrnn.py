"""GraphRNN with labels and directions: edges do not see the nodes they join.  You et al. (1802.08773)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bench.card import Card, Difference
from bench.nn.graph_method import SequenceMethod
from bench.nn.graph_training import EdgeSchedule

CARD = Card(
    title="GraphRNN",
    family="graph_generation",
    summary="GRUs draw node after node and its edges to earlier nodes, which see earlier edges alone.",
    citation="You, Ying, Ren, Hamilton, Leskovec: GraphRNN. ICML 2018. With labels and directions as in "
    "Farshad, thesis, section 10.4.1.",
    url="https://arxiv.org/abs/1802.08773",
    licence="Apache-2.0 (reimplemented; no official code used)",
    differences=(
        Difference(
            switch="none: what edges see",
            clean="the two edges of the slot before (16 numbers); the edge that leaves does not see the one "
            "that arrives",
            official="the same",
            why="The baseline of the thesis has no released code; the path of SceneGraphGen without node "
            "information defines it.",
            source="scene_graph_generation.md 5.10; usggen/model.py edge_supervision",
        ),
        Difference(
            switch="method.drop_last",
            clean="false: a drawn graph keeps all its nodes",
            official="true: as the official generator of SceneGraphGen, which drew from both",
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
            switch="method.ordering",
            clean="random",
            official="the same",
            why="GraphRNN itself is trained on BFS orders, which also shorten its edge sequences; Table 10.1 "
            "has a row for either order, and every earlier node is asked here whatever the order.",
            source="1802.08773 section 2.3.4; thesis Table 10.1",
        ),
    ),
    notes="Orders, tokens, training and sampling as in `scenegraphgen`; the input of the two GRUs over edges "
    "is all that differs.",
)


@dataclass
class GraphRNNBaseline(SequenceMethod):
    """Edges see earlier edges of the same node alone."""

    card: ClassVar[Card] = CARD
    official: ClassVar = {
        "drop_last": True,
        "edge_schedule": EdgeSchedule.constant,
        "stored_prior": True,
    }
    node_aware: ClassVar[bool] = False
