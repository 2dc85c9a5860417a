"""Sections of `models/pretrained/params.yaml` that the pipeline's own params.yaml does not have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Le

Source = Literal["cubes", "excerpts", "scans"]


@dataclass(frozen=True)
class SourceParams:
    """How often a source of training slices is drawn, and what is drawn from it.

    Attributes
    ----------
    share : float
        Share of all patches.
    nodule_share, hard_share : float
        Of the patches of this source, as in `SamplingParams`.
    """

    share: Annotated[float, Ge(0), Le(1)]
    nodule_share: Annotated[float, Ge(0), Le(1)]
    hard_share: Annotated[float, Ge(0), Le(1)]


@dataclass(frozen=True)
class NegativesParams:
    """The section `negatives`: candidates that are no nodule, for false-positive reduction.

    Attributes
    ----------
    scan_share : float
        Share of the drawn negatives that come from whole scans; the others come from cubes.
    """

    scan_share: Annotated[float, Ge(0), Le(1)]


@dataclass(frozen=True)
class SourcesParams:
    """The section `sources`: cubes around single nodules, excerpts of three slices, and whole scans."""

    cubes: SourceParams
    excerpts: SourceParams
    scans: SourceParams
