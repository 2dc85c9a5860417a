"""What a feature is made from, and the register of all of them.

A new feature is one function with the decorator `feature`: its name is the column. A feature of every ranked nodule is
one function with the decorator `ranked_feature`: it becomes nodule1_<name> to nodule5_<name>. The docstring is the
documentation: the definition, then a line `Unit:` and a line `Source:`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from nodules.imaging.features.brock import patient_emphysema, with_risk

RANKS = 5
RankedNodule = Mapping[str, float]
"""One row of `Findings.ranked` by column."""


@dataclass(frozen=True)
class Findings:
    """What the features of one patient are made from.

    Attributes
    ----------
    candidates : DataFrame
        `Candidates.table`.
    regions : DataFrame
        `cross_sections.find_regions`.
    slice_count : int
        Slices of the region that was segmented.
    lungs : mapping of str to float
        `lungs.segment.lung_measures`.
    """

    candidates: pd.DataFrame
    regions: pd.DataFrame
    slice_count: int
    lungs: Mapping[str, float]

    @property
    def emphysema_share(self) -> float:
        """Share of lung voxels below -950 HU; 0 without lungs."""
        found = self.lungs["volume_right_l"] + self.lungs["volume_left_l"] > 0
        return self.lungs["emphysema_share"] if found else 0.0

    @cached_property
    def ranked(self) -> pd.DataFrame:
        """Candidates with the columns of `brock.with_risk`, the one that most probably is a cancer first.

        A model sees five nodules at most, and a scan may have dozens of candidates, most of them vessels or scars. What
        counts for the patient is the nodule that is one and is malignant; its probability and its risk by what it looks
        like are both on the scale of probabilities, so that their product needs no weights. Equals stay in the order
        of the candidates.
        """
        scored = with_risk(self.candidates, patient_emphysema(self.emphysema_share))
        return scored.sort_values("cancer_probability", ascending=False, kind="stable", ignore_index=True)

    @cached_property
    def leading(self) -> list[RankedNodule]:
        """The first `RANKS` rows of `ranked`, fewer if there are fewer."""
        return [{str(name): float(value) for name, value in row.items()} for row in self._leading_rows()]

    def _leading_rows(self) -> list[dict[Any, Any]]:
        return self.ranked.head(RANKS).to_dict(orient="records")


@dataclass(frozen=True)
class Feature:
    """One column of the feature table.

    Attributes
    ----------
    name : str
        Of the column.
    unit : str
        Of its values; "1" for shares, counts and probabilities.
    definition : str
        One or more sentences.
    source : str
        Where the definition comes from.
    measure : callable
        From the findings to the value, which is always finite.
    """

    name: str
    unit: str
    definition: str
    source: str
    measure: Callable[[Findings], float]


FEATURES: dict[str, Feature] = {}


def feature(function: Callable[[Findings], float]) -> Callable[[Findings], float]:
    """Register a feature of the patient under its function's name."""
    _register(function.__name__, function, function)
    return function


def ranked_feature(
    absent: float,
) -> Callable[[Callable[[RankedNodule], float]], Callable[[RankedNodule], float]]:
    """Register a feature of each of the first `RANKS` nodules; a patient with fewer has `absent` in its place."""

    def register(function: Callable[[RankedNodule], float]) -> Callable[[RankedNodule], float]:
        for rank in range(1, RANKS + 1):
            _register(f"nodule{rank}_{function.__name__}", _of_rank(function, rank, absent), function, absent)
        return function

    return register


def measure(findings: Findings) -> dict[str, float]:
    """All features of one patient, by name, in the order of their definition."""
    return {name: float(entry.measure(findings)) for name, entry in FEATURES.items()}


def _of_rank(function: Callable[[RankedNodule], float], rank: int, absent: float) -> Callable[[Findings], float]:
    def of_rank(findings: Findings) -> float:
        return function(findings.leading[rank - 1]) if len(findings.leading) >= rank else absent

    return of_rank


def _register(
    name: str, function: Callable[[Findings], float], documented: Callable[..., float], absent: float | None = None
) -> None:
    if name in FEATURES:
        raise ValueError(f"a feature's name must be new, got {name!r} a second time")
    definition, unit, source = _documentation(name, documented)
    if absent is not None:
        definition += f" {absent:g} if there are fewer nodules."
    FEATURES[name] = Feature(name, unit, definition, source, function)


def _documentation(name: str, function: Callable[..., float]) -> tuple[str, str, str]:
    """Definition, unit and source from a docstring."""
    paragraphs: dict[str, str] = {"Definition": ""}
    section = "Definition"
    for line in (inspect.getdoc(function) or "").splitlines():
        head, colon, rest = line.partition(": ")
        if colon and head in ("Unit", "Source"):
            section, line = head, rest
        paragraphs[section] = f"{paragraphs.get(section, '')} {line.strip()}".strip()
    found = tuple(paragraphs.get(part, "").rstrip() for part in ("Definition", "Unit", "Source"))
    if not all(found):
        raise ValueError(
            f"the docstring of feature {name!r} must have a definition, 'Unit: ' and 'Source: ', got {found}"
        )
    definition, unit, source = found
    return definition, unit.removesuffix("."), source.removesuffix(".")
