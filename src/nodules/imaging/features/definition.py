"""How a feature is defined, and the findings from which it is measured.

A feature is one function with the decorator `feature`; its name is the column. A feature of each ranked nodule is one
function with the decorator `ranked_feature`; its columns are nodule1_<name> to nodule5_<name>. The docstring is the
documentation: the definition, then a line `Unit:` and a line `Source:`. `measure.COLUMNS` lists all features.
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
"""One row of `PatientFindings.ranked` by column."""


@dataclass(frozen=True)
class PatientFindings:
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
    definition : str
        One or more sentences.
    unit : str
        Of its values; "1" for shares, counts and probabilities.
    source : str
        Where the definition comes from.
    measure : callable
        Takes `PatientFindings` and returns the value, which is always finite. Calling the feature does the same.
    """

    name: str
    definition: str
    unit: str
    source: str
    measure: Callable[[PatientFindings], float]

    def __call__(self, findings: PatientFindings) -> float:
        """Value for one patient."""
        return self.measure(findings)


def feature(function: Callable[[PatientFindings], float]) -> Feature:
    """Make a feature of the patient from the function that measures it; the function's name is the column.

    Raises
    ------
    ValueError
        If the docstring lacks the definition, the unit or the source.
    """
    return Feature(function.__name__, *_documentation(function), function)


def ranked_feature(absent: float) -> Callable[[Callable[[RankedNodule], float]], tuple[Feature, ...]]:
    """Make a feature of each of the first `RANKS` nodules from the function that measures one nodule.

    Parameters
    ----------
    absent : float
        Value for a rank that the patient has no nodule for.

    Returns
    -------
    callable
        Decorator. It returns the `RANKS` features in the order of the ranks, and raises as `feature` does.
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
        name = function.__name__
        raise ValueError(
            f"the docstring of feature {name!r} must have a definition, 'Unit: ' and 'Source: ', got {found}"
        )
    definition, unit, source = found
    return definition, unit.removesuffix("."), source.removesuffix(".")
