"""Retinal OCT: seven layers and fluid on Duke DME, fluid on UMN, or a user's own scans (thesis chapter 8)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bench.card import Card, Difference, Reported
from bench.families.scan_sets import Interpolation
from bench.families.segmentation import SegmentationProtocol, SegmentationTask, Selection
from bench.nn.losses import Loss

CARD = Card(
    title="OCT layer and fluid segmentation",
    family="segmentation",
    summary="Label every pixel of a retinal B-scan: background, seven layers, fluid.",
    citation="Farshad, thesis, chapter 8; Farshad et al., Y-Net, MICCAI 2022; see the datasets for theirs",
    url="https://github.com/azadef/ynet",
    licence="see the datasets",
    unit="patient",
    datasets=("duke_oct", "umn_oct", "folder"),
    metrics=(
        "dice",
        "dice_present",
        "dice@official",
        "dice_mean2@official",
        "miou",
        "miou@official",
        "absent_clean",
    ),
    primary="dice",
    differences=(
        Difference(
            switch="protocol.loss",
            clean="dice_ce: cross entropy plus the Dice loss of Eq. 8.1, both on logits",
            official="official: cross entropy of a softmaxed output, plus Dice of exp(softmax(softmax))",
            why="The code applies softmax in the model and again in the loss, and exponentiates before Dice.",
            source="losses.py and networks.py of azadef/ynet; thesis Eq. 8.1-8.3",
        ),
        Difference(
            switch="protocol.mask_interpolation",
            clean="nearest: pixel centres",
            official="bilinear: class ids are interpolated and rounded",
            why="Interpolated ids create classes at borders that nobody drew, in the test reference too.",
            source="data.py of azadef/ynet",
        ),
        Difference(
            switch="protocol.epochs",
            clean="80",
            official="100",
            why="The thesis states at most 80 epochs, the code's default is 100.",
            source="thesis section 8.4.1; train.py of azadef/ynet",
        ),
        Difference(
            switch="protocol.selection",
            clean="dice: mean validation Dice over foreground classes",
            official="official: mean over all classes, background included, an absent class counting 2.0",
            why="The best epoch is chosen by a score that rewards absent classes.",
            source="train.py and eval.py of azadef/ynet",
        ),
        Difference(
            switch="dice@official",
            clean="dice: a class absent from reference and prediction counts 1",
            official="dice@official: it counts 2.0, and one false pixel there counts about 0.0002",
            why="Smoothing is added to the intersection before it is doubled.",
            source="eval.py of azadef/ynet",
        ),
        Difference(
            switch="dice_mean2@official",
            clean="dice: the mean of unrounded class means",
            official="dice_mean2@official: every class mean is rounded to two decimals first",
            why="The means printed in Table 8.1 are exactly means of the rounded columns.",
            source="eval.py of azadef/ynet; thesis Table 8.1",
        ),
        Difference(
            switch="miou@official",
            clean="miou: class means over all scans, a class absent from both counts 1",
            official="miou@official: the mean over the classes present in each reference, then over scans",
            why="A false region of a class absent from the reference costs nothing in the official value.",
            source="eval.py of azadef/ynet",
        ),
        Difference(
            switch="method.merge",
            clean="concat: the two encoders are concatenated along channels",
            official="interleaved: both are flattened, set side by side and viewed anew; space is scrambled",
            why="Thesis and figure say concatenation; the code's default interleaves elements (Y-Net only).",
            source="networks.py of azadef/ynet; thesis section 8.3.1",
        ),
    ),
    reported=Reported(
        task="oct_seg",
        datasets={"Duke OCT": "duke_oct", "UMN OCT": "umn_oct"},
        classes={
            "ILM": "ILM",
            "NFL-IPL": "NFL-IPL",
            "INL": "INL",
            "OPL": "OPL",
            "ONL-ISM": "ONL-ISM",
            "ISE": "ISE",
            "OS-RPE": "OS-RPE",
            "Fluid": "fluid",
            "mean": "mean",
        },
        methods={
            "RelayNet": "relaynet",
            "Language": "language",
            "Alignment": "alignment",
            "U-Net": "unet",
            "Y-Net": "ynet",
        },
        variants={
            "": "",
            "ffc=false": "ffc=false",
            "ffc=true;alpha=0": "alpha=0",
            "ffc=true;alpha=0.25": "alpha=0.25",
            "ffc=true;alpha=0.5": "",
            "ffc=true;alpha=0.75": "alpha=0.75",
            "ffc=true;alpha=1": "alpha=1",
            "spectral_range=no_change": "",
            "spectral_range=keep(-10,10)": "spectral_range=keep",
            "spectral_range=remove(-10,10)": "spectral_range=remove",
        },
        profile="official",
        variant={"dice": "dice@official", "miou": "miou@official"},
    ),
    notes=(
        "Six of the 22 Duke test scans hold no fluid at 224x224: each one predicted clean adds 9.1 points to "
        "the official fluid Dice. Read `dice_present` and `absent_clean` beside it."
    ),
)


@dataclass(frozen=True)
class OCTProtocol(SegmentationProtocol):
    """Thesis section 8.4.1; mean and std are the Duke grey levels of the official code, used for UMN too."""

    image_size: tuple[int, int] = (224, 224)
    mean: float = 46.3758
    std: float = 53.9434


class OCT(SegmentationTask):
    """OCT segmentation; the datasets differ in classes, the protocol does not."""

    card: ClassVar[Card] = CARD
    protocol = OCTProtocol
    profiles: ClassVar = {
        "clean": {},
        "official": {
            "loss": Loss.official,
            "mask_interpolation": Interpolation.bilinear,
            "epochs": 100,
            "selection": Selection.official,
        },
    }
    smoke: ClassVar = {"epochs": 1, "max_steps": 4, "batch_size": 2, "max_val": 2, "max_test": 4}
