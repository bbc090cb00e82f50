"""Semantic image synthesis: a photograph from a label map (Wang et al. 2022 and those it compares with)."""

from __future__ import annotations

from typing import ClassVar

from bench.card import Card, Difference, Reported
from bench.families.synthesis import SynthesisTask

CARD = Card(
    title="Semantic image synthesis",
    family="semantic_synthesis",
    summary="Make a photograph that shows a given label map; judged as a set, by diversity, by a segmenter.",
    citation="W. Wang, J. Bao, W. Zhou et al.: Semantic Image Synthesis via Diffusion Models, 2022; data "
    "prepared as by Park et al., SPADE, CVPR 2019",
    url="https://arxiv.org/abs/2207.00050",
    licence="see the dataset",
    unit="image",
    datasets=("coco_stuff",),
    metrics=(
        "fid",
        "fid@official",
        "fid_infinity",
        "kid_x1e3",
        "kid_x1e3_std",
        "inception_score",
        "inception_score_std",
        "precision_f1_8",
        "recall_f8",
        "precision",
        "recall",
        "density",
        "coverage",
        "lpips",
        "lpips@official",
        "miou",
        "miou_real",
        "pixel_accuracy",
        "pixel_accuracy_real",
    ),
    primary="fid",
    differences=(
        Difference(
            switch="fid@official",
            clean="every test image, brought to 299x299 as TensorFlow did (extractor inception-tf)",
            official="the first floor(N / 50) * 50 test images, brought to 299x299 as pytorch-fid does "
            "(inception-pt: the same weights, samples half a pixel further); only at 256x256",
            why="The published FID takes 50 images at a time and drops a last incomplete batch: of 5,000, "
            "2,000 or 500 none, of any other number some. It brings every image to 256x256 first, so there "
            "is no such value at another size. In another extractor's features only the dropping remains.",
            source="tests_with_FID of boschresearch/OASIS (a copy of pytorch-fid), which SDM names",
        ),
        Difference(
            switch="lpips@official",
            clean="images in [-1, 1] at their own size; mean over label maps",
            official="ImageNet-normalised images of 299x299, normalised again by the network; mean of means "
            "of 50 label maps, a short last one counting whole",
            why="The published loader prepares images for a classifier, not for LPIPS, so printed values "
            "compare with each other but with no LPIPS measured elsewhere.",
            source="evaluations of WeilunWang/semantic-diffusion-model, a port of StarGAN v2's",
        ),
    ),
    reported=Reported(
        task="semantic_synthesis",
        datasets={"COCO-Stuff": "coco_stuff"},
        classes={"mean": "mean"},
        methods={
            "Pix2PixHD": "pix2pixhd",
            "SPADE": "spade",
            "DAGAN": "dagan",
            "SCGAN": "scgan",
            "CLADE": "clade",
            "CC-FPSE": "cc_fpse",
            "GroupDNet": "groupdnet",
            "INADE": "inade",
            "OASIS": "oasis",
            "ControlNet": "controlnet",
            "SDM-LoRA": "sdm_lora",
            "SDM": "sdm",
        },
        variants={"": ""},
        profile="official",
        variant={"fid": "fid@official", "lpips": "lpips@official", "miou": "miou by DeepLabV2"},
        settings={
            "resolution=256x256": "extractor=inception-tf",
            "resolution=256x256;segmenter=DeepLabV2": "extractor=inception-tf",
        },
    ),
    notes=(
        "Sets are compared at the size they were made at: the real images are the test photographs squashed "
        "to `image_size` (halved by averaging, then bicubic), as the published sampler saves them. FID and "
        "its kin take the first image of every label map; `lpips` is the diversity of its images (higher is "
        "more diverse), not an error, and needs `draws=` of two or more, ten in the papers. `miou` and "
        "`pixel_accuracy` need `segmenter=` and always stand beside those of the real images: the paper's "
        "own segmenter finds 39.0 % in the real images of COCO-Stuff and more in OASIS' and SDM's. Its mIoU "
        "code and DeepLabV2 were not released, so no run is set beside the printed mIoU. Validation images "
        "are held out of training; the paper has none. Where weights of the extractor are absent, a phantom "
        "is judged by features of random weights, which say nothing about photographs, and real data are "
        "refused."
    ),
)


class SemanticSynthesis(SynthesisTask):
    """COCO-Stuff at 256x256."""

    card: ClassVar[Card] = CARD
