"""Write synthetic cohorts as files and tables in the layouts of LUNA16 and of the Data Science Bowl 2017 (DSB)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nodules.imaging.geometry.volume import AIR_HU, Volume
from nodules.scans.phantom.files import (
    COMPRESSED_SHARE,
    Series,
    draw_patient_id,
    draw_series_uid,
    draw_signs,
    draw_uids,
    storage_for,
    write_metaimage,
    write_series,
)
from nodules.scans.phantom.nodules import Nodule
from nodules.scans.phantom.patient import Layout, PhantomParams, Truth, draw_truth, stream
from nodules.scans.phantom.render import Rendered, render_patient
from nodules.scans.phantom.scanner import pad_outside

__all__ = [
    "PhantomParams",
    "draw_truth",
    "dsb_tables",
    "luna_tables",
    "make_patient",
    "patient_id",
    "write_dsb_patient",
    "write_luna_scan",
]

NODULE, SCAN, CANDIDATE = "nodule", "scan", "candidate"  # values of the column `record`
COORDINATES = ["coordX", "coordY", "coordZ"]
NODULE_COLUMNS = ["diameter_mm", "type", "shape", "attachment", "lobe"]
INTEGER_COLUMNS = dict.fromkeys(("emphysema", "nodule_count", "cancer"), int)
PATIENT_COLUMNS = ["emphysema", "nodule_count", "largest_diameter_mm", "true_probability", "cancer"]
ROW_COLUMNS = [*COORDINATES, *NODULE_COLUMNS, *PATIENT_COLUMNS]


def make_patient(index: int, layout: Layout, params: PhantomParams) -> tuple[Volume, Truth]:
    """Return one patient in memory, as a reader would.

    Parameters
    ----------
    index : int
        Number of the patient in the cohort.
    layout : {"luna", "dsb"}
        Layout of the cohort; the two layouts never share a patient.
    params : PhantomParams
        Parameters of the cohort.

    Returns
    -------
    volume : Volume
        int16 HU on canonical axes; padding is set to air.
    truth : Truth
        Nodules with their world positions, risk and label.
    """
    made = render_patient(index, layout, params)
    hu = made.hu_zyx if made.scanner.padding_hu is None else pad_outside(made.hu_zyx, AIR_HU)
    volume = Volume(np.maximum(hu, np.int16(AIR_HU)), made.scanner.spacing_zyx_mm, made.origin_xyz_mm)
    return volume, made.truth


def patient_id(index: int, params: PhantomParams) -> str:
    """Return the id of a patient in DSB's layout."""
    return draw_patient_id(stream("identity", index, "dsb", params))


def write_luna_scan(index: int, params: PhantomParams, folder: Path) -> list[dict[str, Any]]:
    """Write `folder`/subset{n}/<series UID>.mhd with its .raw or .zraw.

    Returns
    -------
    list of dict
        Rows for `luna_tables`: one per nodule (or one for a scan without nodules) and one per false candidate.
    """
    made = render_patient(index, "luna", params)
    rng = stream("identity", index, "luna", params)
    uid, subset = draw_series_uid(rng), index % params.luna_subsets
    target = Path(folder) / f"subset{subset}"
    target.mkdir(parents=True, exist_ok=True)
    write_metaimage(
        target / f"{uid}.mhd",
        _padded(made),
        spacing_zyx_mm=made.scanner.spacing_zyx_mm,
        origin_xyz_mm=made.origin_xyz_mm,
        signs_xyz=draw_signs(rng),
        compressed=bool(rng.random() < COMPRESSED_SHARE),
    )
    rows = _rows({"seriesuid": uid, "subset": subset}, made.truth)
    head = dict.fromkeys(rows[0]) | {"seriesuid": uid, "subset": subset, "record": CANDIDATE}
    return rows + [head | _coordinates(point) for point in made.false_points_xyz]


def luna_tables(rows: Sequence[dict[str, Any]]) -> dict[str, pd.DataFrame]:
    """Return the tables of a folder in LUNA16's layout by file name: annotations.csv, candidates.csv, truth.csv."""
    table = pd.DataFrame(list(rows), columns=["seriesuid", "subset", "record", *ROW_COLUMNS])
    nodules, candidates = table[table["record"] == NODULE], table[table["record"] != SCAN]
    classes = candidates[["seriesuid", *COORDINATES]].assign(**{"class": (candidates["record"] == NODULE).astype(int)})
    truth_columns = ["seriesuid", "subset", *ROW_COLUMNS]
    truth = table.loc[table["record"] != CANDIDATE, truth_columns].astype(INTEGER_COLUMNS)
    return {
        "annotations.csv": nodules[["seriesuid", *COORDINATES, "diameter_mm"]].reset_index(drop=True),
        "candidates.csv": classes.reset_index(drop=True),
        "truth.csv": truth[["seriesuid", "subset", *COORDINATES, *NODULE_COLUMNS, *PATIENT_COLUMNS]].reset_index(
            drop=True
        ),
    }


def write_dsb_patient(index: int, params: PhantomParams, folder: Path) -> list[dict[str, Any]]:
    """Write `folder`/<patient id>/*.dcm.

    Returns
    -------
    list of dict
        Rows for `dsb_tables`: one per nodule, or one for a patient without nodules.
    """
    made = render_patient(index, "dsb", params)
    rng = stream("identity", index, "dsb", params)
    identity, uids = draw_patient_id(rng), draw_uids(rng)
    intercept, signed = storage_for(made.scanner.padding_hu, rng)
    series = Series(
        identity, made.scanner.spacing_zyx_mm, made.origin_xyz_mm, intercept, signed, made.scanner.padding_hu, uids
    )
    target = Path(folder) / identity
    target.mkdir(parents=True, exist_ok=True)
    write_series(target, _padded(made), series, rng)
    return _rows({"id": identity}, made.truth)


def dsb_tables(rows: Sequence[dict[str, Any]]) -> dict[str, pd.DataFrame]:
    """Return the tables of a folder in DSB's layout by file name.

    They are stage1_labels.csv, truth.csv (one row per patient) and nodules.csv (one row per nodule).
    """
    table = pd.DataFrame(list(rows), columns=["id", "record", *ROW_COLUMNS])
    patients = table.drop_duplicates("id").reset_index(drop=True).astype(INTEGER_COLUMNS)
    nodules = table[table["record"] == NODULE].reset_index(drop=True)
    return {
        "stage1_labels.csv": patients[["id", "cancer"]],
        "truth.csv": patients[["id", "cancer", "true_probability", "nodule_count", "largest_diameter_mm", "emphysema"]],
        "nodules.csv": nodules[["id", *COORDINATES, *NODULE_COLUMNS]],
    }


def _padded(made: Rendered) -> np.ndarray[Any, np.dtype[np.int16]]:
    padding = made.scanner.padding_hu
    return made.hu_zyx if padding is None else pad_outside(made.hu_zyx, padding)


def _rows(identity: dict[str, Any], truth: Truth) -> list[dict[str, Any]]:
    patient = {
        "emphysema": int(truth.emphysema),
        "nodule_count": len(truth.nodules),
        "largest_diameter_mm": max((n.diameter_mm for n in truth.nodules), default=0.0),
        "true_probability": round(truth.true_probability, 6),
        "cancer": truth.cancer,
    }
    if not truth.nodules:
        empty = dict.fromkeys([*COORDINATES, *NODULE_COLUMNS])
        return [identity | {"record": SCAN} | empty | patient]
    return [identity | {"record": NODULE} | _nodule_fields(n) | patient for n in truth.nodules]


def _nodule_fields(nodule: Nodule) -> dict[str, Any]:
    return _coordinates(nodule.centre_world_xyz or (None, None, None)) | {
        "diameter_mm": nodule.diameter_mm,
        "type": nodule.kind,
        "shape": nodule.shape,
        "attachment": nodule.attachment,
        "lobe": nodule.lobe,
    }


def _coordinates(point_xyz: Any) -> dict[str, float | None]:
    return {name: None if v is None else round(float(v), 4) for name, v in zip(COORDINATES, point_xyz, strict=True)}
