"""Realism of the phantoms: the same measurements on phantoms and on real chest CT, as a table and as contact sheets.

PYTHONPATH=src NODULES_REAL_DATA=... python benchmarks/phantom_realism.py --phantoms 6 --sheets .work/phantom_realism
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage
from skimage.morphology import convex_hull_image

from nodules import params
from nodules.imaging.geometry.volume import Volume
from nodules.imaging.lungs.segment import LungMaskParams, segment_lungs
from nodules.scans.phantom import cohort
from nodules.scans.read import read_scan
from nodules.scans.result import ReadingParams

matplotlib.use("Agg")
import matplotlib.pyplot as plt

FULL_SIZE = cohort.PhantomParams(
    seed=2024,
    grid_px=512,
    pixel_spacing_mm=(0.58, 0.80),
    slice_thickness_mm=(1.5, 3.0),
    luna_scans=1,
    luna_subsets=1,
    luna_extra_nodules=0,
    dsb_patients=1,
    nodule_diameter_mm=(4.0, 30.0),
    nodule_free_share=0.1,
    noise_hu=(15.0, 50.0),
    padded_share=0.6,
)
VESSEL_HU = -500
BANDS_MM = ((2, 5), (5, 10), (10, 20), (20, 30), (30, 60))
WINDOWS_HU = ((-1350, 150), (-160, 240))
SLICE_STEP_MM = 5.0

_INTRODUCTION = """# Phantoms beside real chest CT

    PYTHONPATH=src NODULES_REAL_DATA=... python benchmarks/phantom_realism.py

All columns are measured by the same code, on slices 5 mm apart. The lungs are those of `segment_lungs`; depth below the
pleura is measured in-plane. Ranges are median (10th to 90th percentile). The LUNA16 stacks are clipped at 400 HU and
therefore have no values for bone.
"""


def main(arguments: list[str]) -> None:
    """Measure all scans, and write the table and the sheets."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--real", type=Path, default=os.environ.get("NODULES_REAL_DATA"), help="folder of real scans")
    parser.add_argument("--phantoms", type=int, default=6)
    parser.add_argument("--report", type=Path, default=Path(__file__).with_suffix(".md"))
    parser.add_argument("--sheets", type=Path, default=Path(".work/phantom_realism"), help="pictures; never committed")
    chosen = parser.parse_args(arguments)
    if chosen.real is None:
        sys.exit("set NODULES_REAL_DATA or --real to the folder of real scans")
    settings = params.load("lung_mask", LungMaskParams)
    reading = params.load("reading", ReadingParams)
    real = {path.stem: read_scan(path, reading).volume for path in sorted((Path(chosen.real) / "dicom").glob("*.zip"))}
    made = {f"phantom {i}": cohort.make_patient(i, "dsb", FULL_SIZE)[0] for i in range(chosen.phantoms)}
    table = {name: measure(volume, settings) for name, volume in (real | made).items()}
    stacks = [measure(v, settings) for v in luna_stacks(Path(chosen.real) / "luna16_slices", reading)]
    chosen.report.write_text(report(table, [s for s in stacks if s], list(real), list(made)))
    chosen.sheets.mkdir(parents=True, exist_ok=True)
    draw_sheet(made, chosen.sheets / "phantoms.png")
    pairs = dict(pair for couple in zip(real.items(), made.items(), strict=False) for pair in couple)
    draw_sheet(pairs, chosen.sheets / "real_and_phantoms.png")


def luna_stacks(folder: Path, reading: ReadingParams) -> Iterator[Volume]:
    """The three slices of each annotated nodule, as a volume."""
    for path in sorted(folder.rglob("*.mhd")):
        volume = read_scan(path, reading).volume
        for start in range(0, volume.shape_zyx[0] - 2, 3):
            yield Volume(volume.voxels_zyx[start : start + 3], volume.spacing_zyx_mm)


def measure(volume: Volume, settings: LungMaskParams) -> dict[str, float]:
    """All measurements of one scan, from slices about 5 mm apart; empty if no lungs are found."""
    lungs = segment_lungs(volume, settings) > 0
    step = max(1, round(SLICE_STEP_MM / volume.spacing_zyx_mm[0])) if volume.shape_zyx[0] > 3 else 1
    area_mm2 = lungs.sum(axis=(1, 2)) * np.prod(volume.spacing_zyx_mm[1:])
    chosen = [k for k in range(0, len(lungs), step) if area_mm2[k] > 4000]
    if not chosen:
        return {}
    spacing = volume.spacing_zyx_mm[1]
    rows = [_measure_slice(volume.voxels_zyx[k].astype(np.float32), lungs[k], spacing) for k in chosen]
    pooled = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
    figures = {}
    for tissue in ("lung", "vessel", "muscle", "fat", "bone"):
        if len(pooled[tissue]) > 50:
            figures[f"{tissue} mean HU"] = float(pooled[tissue].mean())
            figures[f"{tissue} SD HU"] = float(pooled[tissue].std())
    figures |= _noise(rows, spacing)
    for low, high in BANDS_MM:
        inside = (pooled["depth"] >= low) & (pooled["depth"] < high)
        if inside.sum() > 200:
            figures[f"vessel share {low}-{high} mm, %"] = float(100 * (pooled["inner"][inside] > VESSEL_HU).mean())
    return figures


def _measure_slice(hu: NDArray[np.float32], lung: NDArray[np.bool_], spacing_mm: float) -> dict[str, NDArray]:
    depth = ndimage.distance_transform_edt(lung) * spacing_mm
    smooth = ndimage.uniform_filter(hu, 5)
    flat = ndimage.uniform_filter(hu * hu, 5) - smooth * smooth
    wall = ~convex_hull_image(lung) & (hu > -250)
    kernel = np.ones((3, 3), dtype=bool)

    def tissue(low: float, high: float) -> NDArray[np.bool_]:
        return ndimage.binary_erosion(wall & (smooth > low) & (smooth < high), kernel, iterations=2)

    soft = (smooth > 0) & (smooth < 250) & ~lung
    even = ndimage.binary_erosion(
        soft & (flat < np.percentile(flat[soft], 60) if soft.any() else soft), kernel, iterations=3
    )
    inner = depth >= 5
    residual = hu - ndimage.uniform_filter(hu, round(12 / spacing_mm))
    return {
        "lung": hu[inner & (hu < VESSEL_HU)],
        "vessel": hu[inner & (hu > VESSEL_HU)],
        "muscle": hu[tissue(10, 100)],
        "fat": hu[tissue(-150, -60)],
        "bone": hu[wall & (smooth > 150)],
        "depth": depth[lung],
        "inner": hu[lung],
        "noise": residual[even],
        **{f"lag{lag}": _products(residual, even, lag) for lag in range(1, 9)},
    }


def _products(residual: NDArray[np.float32], mask: NDArray[np.bool_], lag: int) -> NDArray[np.float32]:
    both = mask[:, lag:] & mask[:, :-lag]
    return residual[:, lag:][both] * residual[:, :-lag][both]


def _noise(rows: list[dict[str, NDArray]], spacing_mm: float) -> dict[str, float]:
    """Noise level in uniform soft tissue, and the distance at which its correlation along x falls to 1/e."""
    values = np.concatenate([row["noise"] for row in rows])
    if len(values) < 500:
        return {}
    curve = [1.0]
    for lag in range(1, 9):
        products = np.concatenate([row[f"lag{lag}"] for row in rows])
        curve.append(float(products.mean() / values.var()) if len(products) else 0.0)
    below = next((i for i, c in enumerate(curve) if c < np.exp(-1)), len(curve) - 1)
    share = (curve[below - 1] - np.exp(-1)) / max(curve[below - 1] - curve[below], 1e-6)
    length_px = below - 1 + share
    return {"noise SD HU": float(values.std()), "noise length px": length_px, "noise length mm": length_px * spacing_mm}


def report(table: dict[str, dict[str, float]], stacks: list[dict[str, float]], real: list[str], made: list[str]) -> str:
    """Markdown table: each real scan, and median and spread of the LUNA16 stacks and of the phantoms."""
    luna, phantoms = pd.DataFrame(stacks), pd.DataFrame([table[name] for name in made])
    names = list(max(table.values(), key=len))
    head = ["figure", *real, f"LUNA16, {len(luna)} stacks", f"{len(made)} phantoms"]
    lines = [
        _INTRODUCTION,
        "| " + " | ".join(head) + " |",
        "| --- " + "| ---: " * (len(head) - 1) + "|",
    ]
    for name in names:
        singles = [_number(table[scan].get(name)) for scan in real]
        spread = "-" if name.startswith("bone") else _spread(luna, name)
        lines.append("| " + " | ".join([name, *singles, spread, _spread(phantoms, name)]) + " |")
    return "\n".join(lines) + "\n"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _spread(table: pd.DataFrame, name: str) -> str:
    if name not in table:
        return "-"
    low, middle, high = table[name].quantile([0.1, 0.5, 0.9])
    return f"{middle:.1f} ({low:.1f} to {high:.1f})"


def draw_sheet(volumes: dict[str, Volume], path: Path) -> None:
    """Draw axial and coronal slices of each volume in a lung and a mediastinal window, one volume below the other."""
    axial, coronal = (0.88, 0.72, 0.60, 0.48, 0.34, 0.18), (0.40, 0.52, 0.62)
    rows = len(volumes) * len(WINDOWS_HU)
    figure, axes = plt.subplots(rows, len(axial) + len(coronal), figsize=(27, 3 * rows), squeeze=False)
    for i, (name, volume) in enumerate(volumes.items()):
        z, y, _ = volume.shape_zyx
        dz, _, dx = volume.spacing_zyx_mm
        views = [(volume.voxels_zyx[int(f * (z - 1))], 1.0) for f in axial]
        views += [(volume.voxels_zyx[::-1, int(f * (y - 1))], dz / dx) for f in coronal]
        for j, (low, high) in enumerate(WINDOWS_HU):
            for cell, (picture, aspect) in zip(axes[2 * i + j], views, strict=True):
                cell.imshow(picture, cmap="gray", vmin=low, vmax=high, aspect=aspect)
                cell.axis("off")
        axes[2 * i, 0].set_title(name, color="white", fontsize=9, loc="left")
    figure.subplots_adjust(0, 0, 1, 0.99, 0.01, 0.03)
    figure.savefig(path, dpi=70, facecolor="black")
    plt.close(figure)


if __name__ == "__main__":
    main(sys.argv[1:])
