"""A list of candidates held against LUNA16's annotations, scan by scan, as the challenge does it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from nodules.evaluation.detection import ScanDetections, match_candidates
from nodules.scans.tables.luna import NoduleAnnotation
from nodules.scans.tables.submission import COORDINATES

MAX_CANDIDATES = 100
"""Most candidates of a scan that LUNA16 looks at; the most probable ones are kept."""


def evaluate_submission(
    submission: pd.DataFrame,
    nodules: Mapping[str, Sequence[NoduleAnnotation]],
    excluded: Mapping[str, Sequence[NoduleAnnotation]],
    seriesuids: Sequence[str],
) -> list[ScanDetections]:
    """Match the candidates of every scan.

    Parameters
    ----------
    submission : DataFrame
        As `scans.submission.read_submission` returns it; other scans than those of `seriesuids` are not looked at.
    nodules, excluded : mapping
        Series UID to nodules, and to findings that count neither for nor against.
    seriesuids : sequence of str
        The scans, whether they have nodules and candidates or not.
    """
    by_scan = dict(iter(submission.groupby("seriesuid", sort=False)))
    none = submission.iloc[:0]
    return [_match(by_scan.get(uid, none), nodules.get(uid, ()), excluded.get(uid, ())) for uid in seriesuids]


def _match(
    candidates: pd.DataFrame, nodules: Sequence[NoduleAnnotation], excluded: Sequence[NoduleAnnotation]
) -> ScanDetections:
    kept = candidates.sort_values("probability", ascending=False, kind="stable").head(MAX_CANDIDATES)
    return match_candidates(
        kept[COORDINATES].to_numpy(dtype=float),
        kept["probability"].to_numpy(dtype=float),
        _centres(nodules),
        [nodule.diameter_mm for nodule in nodules],
        _centres(excluded),
        [finding.diameter_mm for finding in excluded],
    )


def _centres(nodules: Sequence[NoduleAnnotation]) -> np.ndarray:
    return np.array([nodule.centre_world_xyz for nodule in nodules], dtype=float).reshape(-1, 3)
