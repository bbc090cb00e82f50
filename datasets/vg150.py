"""Visual Genome with the 150 objects and 50 predicates of Xu et al. 2017 (VG150)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from bench.card import Card
from bench.core import Dataset
from bench.graphs.scene import SceneGraphs

CARD = Card(
    title="Visual Genome, VG150",
    family="graph_generation",
    summary="Scene graphs of Visual Genome in the vocabulary of 150 objects and 50 predicates.",
    citation="D. Xu, Y. Zhu, C. B. Choy, L. Fei-Fei: Scene Graph Generation by Iterative Message Passing. "
    "CVPR 2017. R. Krishna et al.: Visual Genome. IJCV 123, 2017.",
    url="https://github.com/danfei-xu/scene-graph-TF-release",
    licence="CC BY 4.0",
    unit="image",
    files="VG-SGG.h5 and VG-SGG-dicts.json (also as VG-SGG-with-attri.h5 and VG-SGG-dicts-with-attri.json), "
    "and where kept image_data.json of the same release for image ids and sizes.",
    notes="Training images are marked 0 and test images 2 in the file; of the training images with a "
    "relation the first 5,000 are for validation, as in the Scene Graph Benchmark code, which gives 57,723 / "
    "5,000 / 26,446 graphs. A smaller file gives the same share, 5,000 of 62,723. Images without a relation "
    "are in no split. Relations are as annotated: those that the thesis adds by a model, and its rules "
    "against repeated objects, were not released.",
)
IMAGES = 108_073
EXPECTED = {
    "graphs of train": 57_723,
    "graphs of val": 5_000,
    "graphs of test": 26_446,
    "objects": 150,
    "predicates": 50,
}
CAVEAT = "relations as annotated, without those that the thesis adds by a model that was not released"


class VG150(Dataset):
    """The h5 layout."""

    card: ClassVar[Card] = CARD

    def load(self, root: Path, progress: Callable[..., Any] | None = None) -> SceneGraphs:
        """Every image as a graph, and the splits.

        Raises:
            UserError: See `bench.graphs.vg_h5.read_h5`.
        """
        from bench.graphs.vg_h5 import read_h5

        return replace(read_h5(root, progress), caveats=(CAVEAT,))

    def verify(self, root: Path, progress: Callable[..., Any] | None = None) -> dict[str, str]:
        """Graphs of every split, vocabulary, what was put in order; held against the release.

        Raises:
            UserError: A faulty file, or a complete one with other numbers than were released.
        """
        from bench.graphs.facts import facts, judged
        from bench.phantoms.marker import is_phantom

        scenes = self.load(root, progress)
        told = facts(scenes)
        return told if is_phantom(root) else judged(root, told, EXPECTED, len(scenes) == IMAGES)

    def write_phantom(
        self,
        root: Path,
        seed: int = 0,
        size: str = "small",
        progress: Callable[..., Any] | None = None,
    ) -> None:
        """Write scenes of a grammar in the official layout.

        Args:
            root: A folder that does not exist yet or is empty.
            seed: The same seed writes the same graphs.
            size: `tiny` (60 images), `small` (1,200) or `official` (12,000).
            progress: Not used.

        Raises:
            UserError: The size is none, or the folder holds something.
        """
        from bench.phantoms.scene_files import write_scenes

        write_scenes(root, "vg150", seed, size, progress)
