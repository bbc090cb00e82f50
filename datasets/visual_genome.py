"""Visual Genome in its original JSON under the rules of sg2im (178 objects, 45 predicates)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from bench.card import Card
from bench.core import Dataset
from bench.graphs.scene import SceneGraphs

CARD = Card(
    title="Visual Genome, sg2im",
    family="graph_generation",
    summary="Scene graphs of Visual Genome in the vocabulary of sg2im: 178 objects, 45 predicates.",
    citation="R. Krishna et al.: Visual Genome. IJCV 123, 2017. J. Johnson, A. Gupta, L. Fei-Fei: Image "
    "Generation from Scene Graphs. CVPR 2018.",
    url="https://homes.cs.washington.edu/~ranjay/visualgenome/",
    licence="CC BY 4.0",
    unit="image",
    files="objects.json, relationships.json, image_data.json, object_alias.txt and relationship_alias.txt of "
    "version 1.4, vg_splits.json of sg2im, and where kept attributes.json.",
    notes="Names that stand at least 2,000 times in training images, predicates at least 500 times between "
    "kept objects; objects of at least 32 x 32 pixels, images of at least 200 x 200; graphs of 3 to 30 "
    "objects and 1 to 30 relations. Predicates are brought to lower case and one alias in training images "
    "only, as the published code does and its 5,506 validation and 5,088 test graphs need. A phantom is read "
    "with thresholds of 2.",
)
IMAGES = 108_077
EXPECTED = {
    "graphs of train": 62_565,
    "graphs of val": 5_506,
    "graphs of test": 5_088,
    "objects": 178,
    "predicates": 45,
}


class VisualGenome(Dataset):
    """The JSON layout."""

    card: ClassVar[Card] = CARD

    def load(self, root: Path, progress: Callable[..., Any] | None = None) -> SceneGraphs:
        """The graphs that the rules keep.

        Raises:
            UserError: See `bench.graphs.sg2im.read_sg2im`.
        """
        from bench.graphs.sg2im import Rules, read_sg2im
        from bench.phantoms.marker import is_phantom

        rules = Rules(objects=2, attributes=2, predicates=2) if is_phantom(root) else Rules()
        return read_sg2im(root, progress, rules)

    def verify(self, root: Path, progress: Callable[..., Any] | None = None) -> dict[str, str]:
        """Graphs of every split, vocabulary, what was put in order; held against the published numbers.

        Raises:
            UserError: A faulty file, or the complete files with other numbers than published.
        """
        from bench.graphs.facts import facts, judged
        from bench.graphs.json_files import read_json
        from bench.graphs.sg2im import SPLITS
        from bench.phantoms.marker import is_phantom

        told = facts(self.load(root, progress))
        if is_phantom(root):
            return told
        listed = sum(map(len, read_json(root / SPLITS, dict).values()))
        return judged(root, told, EXPECTED, listed == IMAGES)

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

        write_scenes(root, "visual_genome", seed, size, progress)
