"""The protocol of semantic image synthesis: sizes, the recipe of plain networks, what judges images."""

from __future__ import annotations

from dataclasses import dataclass

from bench.core import Protocol
from bench.errors import UserError

LARGEST = 8192


@dataclass(frozen=True)
class SynthesisProtocol(Protocol):
    """Images, training and judgement.

    Args:
        image_size: (H, W); test images are squashed to it, training images cropped.
        draws: Images made of every test label map. The first of each makes the set that is judged; all of
            them measure diversity, which needs two (the papers make ten).
        extractor: Network whose features sets of images are compared in.
        segmenter: A network of the user's, `path/to/file.py:Class`, that judges whether images show their
            label maps; empty leaves that out.
        crop, flip: Training images are cropped (else squashed), and mirrored half of the time.
        epochs, batch_size: Of methods that follow the task's own recipe.
        validate_every, validate_each_after: Epochs between two looks at the validation images, and the one
            from which on each is followed by a look.
    """

    image_size: tuple[int, int] = (256, 256)
    draws: int = 1
    extractor: str = "inception-tf"
    segmenter: str = ""
    crop: bool = True
    flip: bool = True
    epochs: int = 20
    batch_size: int = 8
    validate_every: int = 1
    validate_each_after: int = 0

    def __post_init__(self) -> None:
        if len(self.image_size) != 2 or not 16 <= min(self.image_size) <= max(self.image_size) <= LARGEST:
            raise UserError(
                f"`protocol.image_size` takes two sides of 16 to {LARGEST} pixels, got "
                f"{list(self.image_size)}; write for instance `protocol.image_size=[256,256]`."
            )
        for name in ("draws", "epochs", "batch_size", "validate_every"):
            if getattr(self, name) < 1:
                raise UserError(f"`protocol.{name}` takes a whole number from 1, got {getattr(self, name)}.")
        if self.max_test is not None and self.max_test < 2:
            raise UserError(f"`protocol.max_test` takes a whole number from 2, got {self.max_test}.")
