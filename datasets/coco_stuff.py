"""COCO-Stuff (Caesar et al. 2018): photographs with a class a pixel, in the folders that SPADE prepares."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from bench.card import Card
from bench.core import Dataset
from bench.errors import UserError
from bench.labelled import ILLEGAL, Entry, Labelled, survey
from bench.phantoms.marker import is_phantom
from bench.pictures import threaded
from bench.scans import SPLITS
from bench.splits import some

# fmt: off
CARD = Card(
    title="COCO-Stuff (164k)",
    family="semantic_synthesis",
    summary="The photographs of COCO 2017, every pixel labelled: 80 kinds of things and 91 of stuff.",
    citation="H. Caesar, J. Uijlings, V. Ferrari: COCO-Stuff: Thing and stuff classes in context. CVPR 2018. "
    "Folders as in T. Park, M.-Y. Liu, T.-C. Wang, J.-Y. Zhu: Semantic image synthesis with "
    "spatially-adaptive normalization (SPADE). CVPR 2019.",
    url="https://github.com/nightrome/cocostuff",
    licence="annotations CC BY 4.0; images under Flickr terms",
    unit="image",
    files="train_img, val_img (.jpg or .png), train_label, val_label (.png, one channel: the COCO-Stuff id "
    "minus one, 255 where nobody labelled) and, if there are any, train_inst, val_inst (.png, one channel, "
    "a number a thing); the files of one photograph share their name. NVlabs/SPADE says how to make them "
    "from the official downloads.",
    classes=(
        "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat",
        "traffic light", "fire hydrant", "street sign", "stop sign", "parking meter", "bench", "bird", "cat",
        "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe", "hat", "backpack", "umbrella",
        "shoe", "eye glasses", "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard", "sports ball",
        "kite", "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket", "bottle",
        "plate", "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich",
        "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant",
        "bed", "mirror", "dining table", "window", "desk", "toilet", "door", "tv", "laptop", "mouse",
        "remote", "keyboard", "cell phone", "microwave", "oven", "toaster", "sink", "refrigerator", "blender",
        "book", "clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush", "hair brush", "banner",
        "blanket", "branch", "bridge", "building-other", "bush", "cabinet", "cage", "cardboard", "carpet",
        "ceiling-other", "ceiling-tile", "cloth", "clothes", "clouds", "counter", "cupboard", "curtain",
        "desk-stuff", "dirt", "door-stuff", "fence", "floor-marble", "floor-other", "floor-stone",
        "floor-tile", "floor-wood", "flower", "fog", "food-other", "fruit", "furniture-other", "grass",
        "gravel", "ground-other", "hill", "house", "leaves", "light", "mat", "metal", "mirror-stuff", "moss",
        "mountain", "mud", "napkin", "net", "paper", "pavement", "pillow", "plant-other", "plastic",
        "platform", "playingfield", "railing", "railroad", "river", "road", "rock", "roof", "rug", "salad",
        "sand", "sea", "shelf", "sky-other", "skyscraper", "snow", "solid-other", "stairs", "stone", "straw",
        "structural-other", "table", "tent", "textile-other", "towel", "tree", "vegetable", "wall-brick",
        "wall-concrete", "wall-other", "wall-panel", "wall-stone", "wall-tile", "wall-wood", "water-other",
        "waterdrops", "window-blind", "window-other", "wood", "unlabelled",
    ),
    notes="Test is COCO val2017 (5,000 photographs). The papers train on all 118,287 of train2017 and "
    "publish no validation set; here evenly spread photographs of the training folder, sorted by id, "
    "are held out for validation (a twentieth, at most 500), so that no model is ever chosen by test "
    "images. Eleven kinds of things (street sign, hat, shoe, eye glasses, plate, mirror, window, "
    "desk, door, blender, hair brush) keep their numbers but no pixel: 171 of 182 classes occur. "
    "Class 182 is what nobody labelled. SPADE's instance maps are label maps with the things painted "
    "over by 0, 1, 2, ..., so that a thing can have the number of a class: pixels belong together "
    "where both label and number agree.",
)
# fmt: on

UNLABELLED, IN_FILE = 182, 255  # class, and its number in the files
IMAGES, LABELS = (".jpg", ".jpeg", ".png"), (".png",)
NEEDED = ("train_img", "train_label", "val_img", "val_label")
INSTANCES = ("train_inst", "val_inst")
RELEASED = {"train": 117_787, "val": 500, "test": 5_000}
SIZES = {  # of the phantom: photographs of train and of val, least and greatest lengths of the two sides
    "tiny": ((12, 8), (44, 52), (58, 68)),
    "small": ((160, 60), (120, 200), (120, 200)),
}


class CocoStuff(Dataset):
    """Folders of photographs, label maps and instance maps."""

    card: ClassVar[Card] = CARD

    def load(self, root: Path, progress: Callable[..., Any] | None = None) -> Labelled:
        """Check every photograph; validation is held out of the training folder by `held_out`.

        Args:
            root: The folder that holds `train_img`, or the folder right above it.
            progress: Wraps the iteration over photographs: `progress(work, total=..., description=...)`.

        Returns:
            Photographs of 183 classes sorted by split (train, val, test) and id, the last class unlabelled.

        Raises:
            UserError: A folder or a file is missing, damaged or there twice, a training photograph is a
                validation photograph too, sizes disagree, or a label is no class.
        """
        folder = _folder(root)
        with_things = _with_instances(folder)
        train, test = (_entries(folder, part, with_things) for part in ("train", "val"))
        both = sorted({entry.id for entry in train} & {entry.id for entry in test})
        if both:
            raise UserError(
                f"`{folder}` has {some(both)} both in train_img and in val_img; keep a photograph in one of "
                "them."
            )
        if len(train) < 2:
            raise UserError(
                f"`{folder / 'train_img'}` holds one photograph, and one is held out for validation; put at "
                "least two there."
            )
        val = held_out(len(train))
        entries = [replace(entry, split="val") if i in val else entry for i, entry in enumerate(train)] + test
        entries.sort(key=lambda entry: (SPLITS.index(entry.split), entry.id))
        return survey(entries, CARD.classes, table(), is_phantom(root), UNLABELLED, progress)

    def verify(self, root: Path, progress: Callable[..., Any] | None = None) -> dict[str, str]:
        """Check everything as `load` does and say what was found."""
        data = self.load(root, progress)
        counts = {
            split: f"{count:,}" if data.phantom else _beside_release(count, RELEASED[split])
            for split, count in data.counts().items()
        }
        return {
            **{f"images {split}": text for split, text in counts.items()},
            "classes present": f"{_present(data)} of {len(data.classes)}",
            "instance maps": "yes" if data.has_instances else "no",
            "leaks": str(data.leaks()),
            "fingerprint": data.fingerprint(),
        }

    def write_phantom(
        self,
        root: Path,
        seed: int = 0,
        size: str = "small",
        progress: Callable[..., Any] | None = None,
    ) -> None:
        """Write procedural landscapes of 15 of the classes in the same folders.

        Args:
            root: A folder that does not exist yet or is empty; it appears whole or not at all.
            seed: The same seed writes the same bytes.
            size: `tiny` (20 photographs of about 64x48 pixels) or `small` (220 of 120 to 200 a side).
            progress: Wraps the iteration over photographs.

        Raises:
            UserError: The size is none, or the folder holds something.
        """
        from PIL import Image

        from bench.phantoms.landscapes import landscape
        from bench.phantoms.marker import TELLTALE, write_marker
        from bench.phantoms.retina_files import whole_folder
        from bench.phantoms.sizes import named_size

        counts, short, long = named_size(size, SIZES)
        ids = np.random.default_rng([seed, 2]).choice(10**6, sum(counts), replace=False)
        work = [(split, number) for split, count in enumerate(counts) for number in range(count)]
        walk = progress(work, total=len(work), description="write the phantom") if progress else work
        with whole_folder(root) as folder:
            for name in (*NEEDED, *INSTANCES):
                (folder / name).mkdir()
            for (split, number), own in zip(walk, ids, strict=True):
                drawn = landscape(seed, split, number, short, long)
                part, name = ("train", "val")[split], f"{own:012d}"
                photograph = Image.fromarray(drawn.image)
                photograph.save(folder / f"{part}_img" / f"{name}.jpg", quality=95, comment=TELLTALE)
                Image.fromarray(drawn.labels).save(folder / f"{part}_label" / f"{name}.png")
                Image.fromarray(drawn.instances).save(folder / f"{part}_inst" / f"{name}.png")
            write_marker(folder, "coco_stuff", seed, size, ())


def held_out(n: int) -> set[int]:
    """Which of n training photographs, sorted by id, are for validation: a twentieth, from 1 to 500.

    Raises:
        ValueError: n is below 1.
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    return set(np.rint(np.linspace(0, n - 1, max(1, min(500, n // 20)))).astype(int).tolist())


def table() -> np.ndarray:
    """(256,) int16: number in a label map -> class, or `ILLEGAL`."""
    found = np.full(256, ILLEGAL, np.int16)
    found[:UNLABELLED] = np.arange(UNLABELLED)
    found[IN_FILE] = UNLABELLED
    return found


def _beside_release(count: int, released: int) -> str:
    told = ", as released" if count == released else f" (the complete release has {released:,})"
    return f"{count:,}{told}"


def _present(data: Labelled) -> int:
    """Classes that have a pixel."""
    counts = threaded(
        lambda i: np.bincount(data.read(i).labels.ravel(), minlength=len(data.classes)) > 0, range(len(data))
    )
    return int(np.any(list(counts), 0).sum())


def _folder(root: Path) -> Path:
    if not root.is_dir():
        raise UserError(f"`{root}` is no folder; give the folder that holds train_img and val_img.")
    below = [path for path in sorted(root.iterdir()) if path.is_dir()]
    found = [path for path in (root, *below) if any((path / name).is_dir() for name in NEEDED)]
    if not found:
        raise UserError(
            f"`{root}` lacks {some(NEEDED)}; prepare the folders as NVlabs/SPADE says and give the folder "
            "that holds them."
        )
    if found[0] != root and len(found) > 1:
        raise UserError(
            f"`{root}` holds COCO-Stuff more than once, in {some([path.name for path in found])}; give one "
            "of these folders."
        )
    missing = [name for name in NEEDED if not (found[0] / name).is_dir()]
    if missing:
        raise UserError(f"`{found[0]}` lacks {some(missing)}; copy the official files there.")
    return found[0]


def _with_instances(folder: Path) -> bool:
    there = [name for name in INSTANCES if (folder / name).is_dir()]
    if len(there) == 1:
        (missing,) = set(INSTANCES) - set(there)
        raise UserError(
            f"`{folder}` has {there[0]} but no {missing}; give instance maps of both parts or of neither."
        )
    return bool(there)


def _entries(folder: Path, part: str, with_things: bool) -> list[Entry]:
    """The photographs of `train` or `val`, sorted by id; those of `val` are test."""
    images = _files(folder / f"{part}_img", IMAGES)
    labels = _files(folder / f"{part}_label", LABELS)
    things = _files(folder / f"{part}_inst", LABELS) if with_things else {}
    _match(images, labels, folder / f"{part}_img", folder / f"{part}_label", "label map")
    if with_things:
        _match(images, things, folder / f"{part}_img", folder / f"{part}_inst", "instance map")
    split = "train" if part == "train" else "test"
    return [Entry(name, split, path, labels[name], things.get(name)) for name, path in images.items()]


def _files(folder: Path, kinds: tuple[str, ...]) -> dict[str, Path]:
    """Name without ending -> file, sorted; what other programs leave there is looked over."""
    paths = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in kinds]
    paths = [path for path in paths if not path.name.startswith(".")]
    if not paths:
        raise UserError(f"`{folder}` holds no file ending in {' or '.join(kinds)}; copy the files there.")
    twice = [name for name, count in Counter(path.stem for path in paths).items() if count > 1]
    if twice:
        raise UserError(f"`{folder}` has {some(twice)} under two endings; keep one file for each.")
    return {path.stem: path for path in sorted(paths, key=lambda path: path.stem)}


def _match(images: Mapping[str, Path], maps: Mapping[str, Path], here: Path, there: Path, what: str) -> None:
    bare, lost = (sorted(set(a) - set(b)) for a, b in ((images, maps), (maps, images)))
    if bare:
        raise UserError(
            f"{len(bare)} of {len(images)} photographs in `{here}` have no {what} in `{there.name}`: "
            f"{some(bare)}; copy the official files there."
        )
    if lost:
        raise UserError(
            f"{len(lost)} of {len(maps)} {what}s in `{there}` have no photograph in `{here.name}`: "
            f"{some(lost)}; copy the photographs or take the maps away."
        )
