"""Definition of features by decorated functions, and the findings on which features are measured.

A feature of the patient is a function with the decorator `feature`; its name is the name of the column. A feature of
each ranked nodule is a function with the decorator `ranked_feature`; its columns are nodule1_<name> to nodule5_<name>.
The docstring documents the feature: the definition, then a line `Unit:` and a line `Source:`. `measure.COLUMNS` lists
all features.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from nodules.imaging.features.brock import add_cancer_probability, emphysema_degree

RANKS = 5  # number of ranked nodules that have features of their own

RankedNodule = Mapping[str, float]
"""One row of `PatientFindings.ranked`, as values by column name."""


@dataclass(frozen=True)
class PatientFindings:
    """Findings of one patient from which the features are computed.

    Attributes
    ----------
    candidates : DataFrame
        `Candidates.table`. For features of malignancy, it has the column `malignancy` as well.
    regions : DataFrame
        Result of `cross_sections.find_regions`.
    slice_count : int
        Number of slices of the segmented region.
    lungs : mapping of str to float
        Result of `lungs.segment.lung_measures`.
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
        """Candidates with the columns of `brock.add_cancer_probability`, the most probable cancer first.

        A model sees at most five nodules, but a scan may have dozens of candidates, most of them vessels or scars. The
        rank is therefore the product of two probabilities: that the candidate is a nodule, and that a nodule of this
        appearance is malignant. Ties keep the order of the candidates.
        """
        scored = add_cancer_probability(self.candidates, emphysema_degree(self.emphysema_share))
        return scored.sort_values("cancer_probability", ascending=False, kind="stable", ignore_index=True)

    @cached_property
    def leading(self) -> list[RankedNodule]:
        """The first `RANKS` rows of `ranked`, or all rows if there are fewer."""
        return [{str(name): float(value) for name, value in row.items()} for row in self._leading_rows()]

    def _leading_rows(self) -> list[dict[Any, Any]]:
        return self.ranked.head(RANKS).to_dict(orient="records")


@dataclass(frozen=True)
class Feature:
    """One column of the feature table.

    Attributes
    ----------
    name : str
        Name of the column.
    definition : str
        One or more sentences.
    unit : str
        Unit of the values; "1" for shares, counts and probabilities.
    source : str
        Origin of the definition.
    measure : callable
        Takes `PatientFindings` and returns the value, which is always finite. Calling the `Feature` does the same.
    """

    name: str
    definition: str
    unit: str
    source: str
    measure: Callable[[PatientFindings], float]

    def __call__(self, findings: PatientFindings) -> float:
        """Return the value for one patient."""
        return self.measure(findings)


def feature(function: Callable[[PatientFindings], float]) -> Feature:
    """Turn a function that measures a patient into a feature; the function's name becomes the column.

    Raises
    ------
    ValueError
        If the docstring lacks the definition, the unit or the source.
    """
    return Feature(function.__name__, *_documentation(function), function)


def ranked_feature(absent: float) -> Callable[[Callable[[RankedNodule], float]], tuple[Feature, ...]]:
    """Turn a function that measures one nodule into a feature of each of the first `RANKS` nodules.

    Parameters
    ----------
    absent : float
        Value for ranks beyond the patient's number of nodules.

    Returns
    -------
    callable
        Decorator that returns `RANKS` features in the order of the ranks. It raises the same error as `feature`.
    """

    def of_all_ranks(function: Callable[[RankedNodule], float]) -> tuple[Feature, ...]:
        definition, unit, source = _documentation(function)
        definition += f" {absent:g} if there are fewer nodules."
        return tuple(
            Feature(f"nodule{rank}_{function.__name__}", definition, unit, source, _of_rank(function, rank, absent))
            for rank in range(1, RANKS + 1)
        )

    return of_all_ranks


def _of_rank(function: Callable[[RankedNodule], float], rank: int, absent: float) -> Callable[[PatientFindings], float]:
    def of_rank(findings: PatientFindings) -> float:
        return function(findings.leading[rank - 1]) if len(findings.leading) >= rank else absent

    return of_rank


def _documentation(function: Callable[..., float]) -> tuple[str, str, str]:
    """Extract definition, unit and source from the docstring of a function."""
    paragraphs: dict[str, str] = {"Definition": ""}
    section = "Definition"
    for line in (inspect.getdoc(function) or "").splitlines():
        head, colon, rest = line.partition(": ")
        if colon and head in ("Unit", "Source"):
            section, line = head, rest
        paragraphs[section] = f"{paragraphs.get(section, '')} {line.strip()}".strip()
    found = tuple(paragraphs.get(part, "").rstrip() for part in ("Definition", "Unit", "Source"))
    if not all(found):
        name = function.__name__
        raise ValueError(f"docstring of feature {name!r}: expected a definition, 'Unit: ' and 'Source: ', got {found}")
    definition, unit, source = found
    return definition, unit.removesuffix("."), source.removesuffix(".")
