"""What can be chosen in the tutorial's steps."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Lt

from nodules.tutorial.steps.defects import TutorialDefects


@dataclass(frozen=True)
class TutorialParams:
    """Settings of the tutorial's steps.

    Attributes
    ----------
    nodules : str
        Whose slices are taken from a scan: those of the `largest` nodule, as on the page, or of `all`.
    size_px : int
        Side of the network's image. The tutorial's is 512.
    window_hu : tuple of 2 float
        HU below and above are taken for these bounds in the network's image.
    max_lung_hu : float
        The darker class of a slice is lung where its mean is at most this.
    min_probability : float
        Of a pixel that belongs to a region.
    defects : TutorialDefects
        None by default.
    """

    nodules: Literal["largest", "all"]
    size_px: Annotated[int, Ge(16)]
    window_hu: tuple[float, float]
    max_lung_hu: float
    min_probability: Annotated[float, Gt(0), Lt(1)]
    defects: TutorialDefects = field(default_factory=TutorialDefects)

    def __post_init__(self) -> None:
        low, high = self.window_hu
        if not low < high:
            raise ValueError(f"window_hu must be two ascending values, got {self.window_hu}")
