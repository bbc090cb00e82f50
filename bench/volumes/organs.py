"""The 24 binary datasets that the Decathlon's nine organs are cut into (fewshot_decathlon.md, section 1)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Organ:
    """One structure in one channel.

    Args:
        name: `organ[_class][_mode]`.
        folder: The Decathlon's folder.
        channel: Index in the fourth axis of the image; 0 where it has three.
        label: Label id in the label map.
        least: A slice belongs to the dataset from this many pixels of the label, at original resolution.
        kind: `MRI` or `CT`.
    """

    name: str
    folder: str
    channel: int
    label: int
    least: int
    kind: str


_BRAIN = (("edema", 1, 1000), ("ne_tumour", 2, 400), ("e_tumour", 3, 600))
_MODES = ("flair", "t1w", "t1gd", "t2w")
# One row a label: name, folder, label, least pixels, kind.
_SINGLE = (
    ("heart", "Task02_Heart", 1, 700, "MRI"),
    ("hippocampus_anterior", "Task04_Hippocampus", 1, 100, "MRI"),
    ("hippocampus_posterior", "Task04_Hippocampus", 2, 100, "MRI"),
    ("prostate_peripheral", "Task05_Prostate", 1, 300, "MRI"),
    ("prostate_transitional", "Task05_Prostate", 2, 600, "MRI"),
    ("lung", "Task06_Lung", 1, 1000, "CT"),
    ("pancreas", "Task07_Pancreas", 1, 1000, "CT"),
    ("pancreas_cancer", "Task07_Pancreas", 2, 1000, "CT"),
    ("hepatic_vessel", "Task08_HepaticVessel", 1, 1000, "CT"),
    ("hepatic_vessel_cancer", "Task08_HepaticVessel", 2, 1000, "CT"),
    ("spleen", "Task09_Spleen", 1, 600, "CT"),
    ("colon", "Task10_Colon", 1, 400, "CT"),
)

ORGANS: dict[str, Organ] = {
    organ.name: organ
    for organ in (
        *(
            Organ(f"brain_{name}_{mode}", "Task01_BrainTumour", channel, label, least, "MRI")
            for name, label, least in _BRAIN
            for channel, mode in enumerate(_MODES)
        ),
        *(Organ(name, folder, 0, label, least, kind) for name, folder, label, least, kind in _SINGLE),
    )
}

FOLDERS: tuple[str, ...] = tuple(dict.fromkeys(organ.folder for organ in ORGANS.values()))

# Of the channels in a file, those that are used: the prostate's second (ADC) is not.
CHANNELS: dict[str, int] = {"Task01_BrainTumour": 4, "Task05_Prostate": 2}

# Left out of the sources by every released configuration (section 1); the text leaves colon in.
TARGETS: tuple[str, ...] = ("heart", "spleen", "prostate_peripheral", "prostate_transitional", "colon")


def of_folder(folder: str) -> list[Organ]:
    """The binary datasets cut from one folder."""
    return [organ for organ in ORGANS.values() if organ.folder == folder]


def weight(organ: Organ) -> float:
    """1 / z, z datasets being cut from the organ: its probability as a task, up to a factor."""
    return 1 / len(of_folder(organ.folder))
