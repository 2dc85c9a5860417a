"""Settings of the tutorial's image-processing steps."""

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
    nodules : {"largest", "all"}
        Nodules whose slices are selected: the `largest` of each scan, as in the tutorial, or `all`.
    size_px : int
        Side of the network's image. The tutorial's is 512.
    window_hu : tuple of 2 float
        HU in the network's image are clipped to this window.
    max_lung_hu : float
        The darker cluster of a slice counts as lung if its mean is at most this.
    min_probability : float
        Lowest probability of a pixel in a predicted region.
    defects : TutorialDefects
        Defects of the published code; all off by default.
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
            raise ValueError(f"window_hu must be two values in ascending order, got {self.window_hu}")
