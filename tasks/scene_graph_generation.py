"""Unconditional generation of scene graphs (thesis chapter 10)."""

from __future__ import annotations

from typing import ClassVar

from bench.card import Card, Difference, Reported
from bench.families.graph_generation import GraphTask
from bench.families.graph_generation_protocol import GraphProtocol

CARD = Card(
    title="Scene-graph generation",
    family="graph_generation",
    summary="Learn the distribution of scene graphs, draw new ones, find anomalies, complete partial graphs.",
    citation="Garg, Dhamo, Farshad et al.: Unconditional Scene Graph Generation, ICCV 2021; Farshad, thesis, "
    "chapter 10",
    url="https://scenegraphgen.github.io",
    licence="see the dataset",
    unit="image",
    datasets=("vg150", "visual_genome", "vrd"),
    metrics=(
        "mmd_graph_x1e3",
        "mmd_graph_x1e3@official",
        "mmd_node_x1e3",
        "mmd_node_x1e3@official",
        "mmd_graph_x1e3_unfiltered",
        "mmd_graph_x1e3_unfiltered@official",
        "mmd_node_x1e3_unfiltered",
        "mmd_node_x1e3_unfiltered@official",
        "mmd_graph_p",
        "mmd_node_p",
        "nll",
        "nll_token",
        "auroc_20",
        "auroc_50",
        "auroc_100",
        "kl_objects",
        "kl_predicates",
        "kl_cooccurrence",
        "kl_counts",
        "valid",
        "unique",
        "novel",
        "known_triples",
        "nearest_train",
    ),
    primary="mmd_graph_x1e3",
    differences=(
        Difference(
            switch="mmd_graph_x1e3@official",
            clean="a walk that ends early matches walks that end there too",
            official="0.5 whenever either node has no outgoing edge, at every step",
            why="The thesis's formula has no value for graphs without walks of three nodes (0/0); the code "
            "puts 0.5 there and at every other dead end, which makes the kernel indefinite. The value is MMD "
            "squared times 1000, unbiased, so it may be negative.",
            source="thesis eq. 10.6 to 10.13; evaluate.py of the official code",
        ),
        Difference(
            switch="mmd_graph_x1e3_unfiltered",
            clean="the main value compares with test graphs of 3 to 25 nodes",
            official="all test graphs, although none but those of 2 to 23 nodes can be drawn",
            why="Training graphs are filtered by their number of nodes, test graphs were not. Both are "
            "reported; printed numbers stand beside the unfiltered one.",
            source="evaluate.py, main_eval.py of the official code",
        ),
        Difference(
            switch="protocol.max_test",
            clean="no limit: samples are compared with all test graphs",
            official="1000 test graphs",
            why="The published evaluation takes the first 1,000 of a shuffled test set; here 1,000 evenly "
            "spread ones, because its order is not known.",
            source="main_eval.py of the official code",
        ),
    ),
    reported=Reported(
        task="scene_graph_generation",
        datasets={"Visual Genome": "vg150"},
        classes={"mean": "mean"},
        methods={
            "SceneGraphGen": "scenegraphgen",
            "GraphRNN": "graphrnn",
            "Ground truth": "ground truth",
            "metric sanity check": "metric sanity check",
        },
        variants={
            "ordering=BFS": "ordering=bfs",
            "ordering=hierarchical": "ordering=hierarchical",
            "ordering=random": "ordering=random",
        },
        profile="official",
        variant={
            "mmd_node_x1e3": "mmd_node_x1e3_unfiltered@official",
            "mmd_graph_x1e3": "mmd_graph_x1e3_unfiltered@official",
        },
    ),
    notes=(
        "Graphs hold at most one predicate an ordered pair (the first) and no self relation; what was put "
        "in order is counted. The thesis adds relations to Visual Genome by a model and removes duplicate "
        "objects by rules that were not released, so every run on `vg150` deviates by that. Likelihoods "
        "include the first node (an empirical prior) and the end, averaged over orders drawn by the "
        "method's own ordering: they compare methods of one ordering, not orderings. A graph is corrupted "
        "by giving x % of its nodes and of its edges a label drawn uniformly, which may be the old one. "
        "FID, Inception Score, precision and recall of Table 10.1 are of images that SG2Im makes from the "
        "graphs; they measure SG2Im at least as much and are shown as reported only."
    ),
)


class SceneGraphGeneration(GraphTask):
    """Visual Genome in two layouts, and VRD."""

    card: ClassVar[Card] = CARD
    protocol = GraphProtocol
    profiles: ClassVar = {"clean": {}, "official": {"max_test": 1000}}
    smoke: ClassVar = {
        "epochs": 1,
        "batches_per_epoch": 4,
        "batch_size": 8,
        "samples": 64,
        "max_val": 16,
        "max_test": 64,
        "orderings": 2,
        "max_likelihoods": 16,
        "permutations": 100,
    }
    small: ClassVar = {**smoke, "batches_per_epoch": 2, "samples": 8, "max_test": 8, "max_likelihoods": 4}
