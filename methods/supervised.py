"""Supervised: a network drawn at random learns from the shots alone (thesis Table 7.1, first rows)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bench.card import Card, Difference
from bench.fewshot.method import NetworkMethod

CARD = Card(
    title="Supervised, random initialisation",
    family="fewshot_segmentation",
    summary="Trains the network on the shots from its random initialisation; the sources are not looked at.",
    citation="Farshad, thesis, chapter 7; Makarevich, Farshad, Belagiannis, Navab: MetaMedSeg. DART 2022.",
    url="https://arxiv.org/abs/2109.09734",
    licence="Apache-2.0 (reimplemented; no official code used)",
    differences=(
        Difference(
            switch="none: initialisation",
            clean="convolution weights from N(0, 1), biases 0, by the run's seed, for every selection alike",
            official="the same",
            why="Neither the text nor a configuration says how the baseline starts; the released network "
            "draws its weights so, and instance norm takes their scale out of all layers but the last.",
            source="metamedseg/Code networks/unet.py; fewshot_decathlon.md section 2",
        ),
    ),
)


@dataclass
class Supervised(NetworkMethod):
    """The protocol's recipe from random weights."""

    card: ClassVar[Card] = CARD
