"""Visual Relationship Detection (Lu et al. 2016) in Visual Genome's JSON layout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from bench.card import Card
from bench.core import Dataset
from bench.errors import UserError
from bench.graphs.scene import SceneGraphs

CARD = Card(
    title="Visual Relationship Detection (VRD)",
    family="graph_generation",
    summary="Scene graphs of 100 objects and 70 predicates; the vocabulary is read from the data.",
    citation="C. Lu, R. Krishna, M. Bernstein, L. Fei-Fei: Visual Relationship Detection with Language "
    "Priors. ECCV 2016.",
    url="https://cs.stanford.edu/people/ranjaykrishna/vrd/",
    licence="research",
    unit="image",
    files="objects.json, relationships.json and, where kept, image_data.json in Visual Genome's layout, and "
    'splits.json: {"train": [image ids], "val": [...], "test": [...]}.',
    notes="Graphs are read exactly as written, without thresholds or aliases. Any other dataset in the same "
    "layout can be read in its place.",
)


class VRD(Dataset):
    """The JSON layout with splits of its own."""

    card: ClassVar[Card] = CARD

    def load(self, root: Path, progress: Callable[..., Any] | None = None) -> SceneGraphs:
        """Every graph, and the splits of splits.json.

        Raises:
            UserError: There is no splits.json; else see `bench.graphs.vg_json.read_json`.
        """
        from bench.graphs.vg_json import read_json
        from bench.graphs.vg_raw import SPLITS

        if not (root / SPLITS).is_file():
            raise UserError(f"`{root}` lacks `{SPLITS}`, the image ids of train, val and test; put it there.")
        return read_json(root, progress)

    def verify(self, root: Path, progress: Callable[..., Any] | None = None) -> dict[str, str]:
        """Graphs of every split, vocabulary, what was put in order, fingerprint.

        Raises:
            UserError: A faulty file.
        """
        from bench.graphs.facts import facts

        return facts(self.load(root, progress))

    def write_phantom(
        self,
        root: Path,
        seed: int = 0,
        size: str = "small",
        progress: Callable[..., Any] | None = None,
    ) -> None:
        """Write scenes of a grammar in the same layout.

        Args:
            root: A folder that does not exist yet or is empty.
            seed: The same seed writes the same graphs.
            size: `tiny` (60 images), `small` (1,200) or `official` (12,000).
            progress: Not used.

        Raises:
            UserError: The size is none, or the folder holds something.
        """
        from bench.phantoms.scene_files import write_scenes

        write_scenes(root, "vrd", seed, size, progress)
