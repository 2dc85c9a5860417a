"""Slices of the ablation: every slice that any recipe trains on or is evaluated on, cut once per scan.

Most recipes share most of the work. The lungs are found once for all recipes that agree in the defects of that step.
Arrays are stored under the hash of their content, so recipes whose defects do not affect a scan share its arrays.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ablation_recipes import IMAGES, LUNGS, SLICES, Defects, Settings, key
from nodules import params
from nodules.imaging.geometry.volume import Volume
from nodules.imaging.lungs.segment import LungMaskParams
from nodules.pretraining.excerpts import read_excerpts, series
from nodules.pretraining.folds import drawn_folds
from nodules.scans.read import read_scan
from nodules.scans.result import ReadingParams
from nodules.scans.stores.split import SplitParams, split_patients
from nodules.scans.tables.dsb import patient_folders
from nodules.scans.tables.luna import NoduleAnnotation, read_annotations
from nodules.tutorial.evaluation.evaluation_slices import EvaluationSlices, evaluation_slices
from nodules.tutorial.learning.training_arrays import scan_arrays
from nodules.tutorial.steps.prepared_scan import PreparedScan, find_lungs, prepare

REAL_FOLDS = 5
NODULE_FREE_PER_SCAN = 3
NONE: Defects = frozenset()


@dataclass(frozen=True)
class Source:
    """One series that slices are cut from.

    Attributes
    ----------
    name : str
        Series UID.
    file : Path
        File of the series.
    part : str
        Part of the split for a phantom, fold for a real series.
    """

    name: str
    file: Path
    part: str


class Preparations:
    """Preparation of one scan for many recipes; steps that recipes share are run once."""

    def __init__(self, scan: Volume, settings: Settings) -> None:
        self._settings, self._scan = settings, scan
        self._lungs: dict[str, NDArray[np.bool_]] = {}
        self._prepared: dict[str, PreparedScan] = {}

    def __call__(self, defects: Defects) -> PreparedScan:
        """Return what `prepare` returns for the steps with these defects."""
        name = key("images", defects)
        if name not in self._prepared:
            steps = self._settings.steps_of(defects & IMAGES)
            self._prepared[name] = prepare(self._scan, steps, self._lungs_of(defects))
        return replace(self._prepared[name], params=self._settings.steps_of(defects))

    def _lungs_of(self, defects: Defects) -> NDArray[np.bool_]:
        name = key("lungs", defects)
        if name not in self._lungs:
            self._lungs[name] = find_lungs(self._scan, self._settings.steps_of(defects & LUNGS))
        return self._lungs[name]


class Kept:
    """Arrays of one scan by recipe; equal arrays are stored once, under the hash of their content."""

    def __init__(self) -> None:
        self._arrays: dict[str, NDArray[Any]] = {}
        self._index: dict[str, dict[str, str]] = {}

    def add(self, name: str, arrays: dict[str, NDArray[Any]]) -> None:
        """Add the arrays of a recipe."""
        self._index[name] = {}
        for title, array in arrays.items():
            digest = content_hash(array)
            self._arrays.setdefault(digest, array)
            self._index[name][title] = digest

    def save(self, file: Path) -> None:
        """Write `file`.npz and then `file`.json; if the index exists, the arrays are complete."""
        file.parent.mkdir(parents=True, exist_ok=True)
        with Path(f"{file}.npz").open("wb") as opened:
            np.savez(opened, **self._arrays)
        unfinished = Path(f"{file}.unfinished")
        unfinished.write_text(json.dumps(self._index))
        unfinished.replace(f"{file}.json")


def content_hash(array: NDArray[Any]) -> str:
    """Name of an array by its content: equal for equal shape, dtype and values."""
    told = hashlib.sha256(f"{array.shape} {array.dtype}".encode())
    told.update(np.ascontiguousarray(array).tobytes())
    return told.hexdigest()[:24]


def index(file: Path) -> dict[str, dict[str, str]]:
    """Hashes of a scan's arrays, by recipe and title."""
    return dict(json.loads(Path(f"{file}.json").read_text()))


def arrays(file: Path, name: str) -> dict[str, NDArray[Any]]:
    """Arrays of one recipe, by title."""
    with np.load(f"{file}.npz", allow_pickle=False) as stored:
        return {title: stored[digest] for title, digest in index(file)[name].items()}


def phantoms(luna_root: Path, seed: int) -> list[Source]:
    """Phantoms of the LUNA16 layout, split as `make repro` splits them."""
    annotated = read_annotations(luna_root / "annotations.csv")
    files = sorted(luna_root.glob("subset*/*.mhd"))
    rows = [(f.stem, f.stem, int(f.parent.name[6:]), len(annotated.get(f.stem, []))) for f in files]
    table = pd.DataFrame(rows, columns=["seriesuid", "patient", "subset", "nodules"])
    parts = split_patients(table, params.load("split", SplitParams), seed).set_index("seriesuid")["part"]
    return [Source(file.stem, file, str(parts[file.stem])) for file in files]


def real(root: Path, seed: int) -> list[Source]:
    """Real series, each with the fold that it tests."""
    files = series(root)
    return [Source(uid, files[uid], str(fold)) for uid, fold in drawn_folds(list(files), REAL_FOLDS, seed).items()]


def cut(source: Source, wanted: Iterable[Defects], settings: Settings, file: Path, *, is_real: bool) -> None:
    """Cut the slices of one scan for all recipes.

    Parameters
    ----------
    wanted : iterable of frozenset of str
        Defects of the recipes.
    file : Path
        Path of the arrays, without suffix. A real series has one entry per excerpt.
    """
    keys = {key("slices", defects): defects & SLICES for defects in wanted}
    kept = Kept()
    for number, excerpt in enumerate(_excerpts(source) if is_real else [_whole(source)]):
        scan, nodules, middle = excerpt
        preparations = Preparations(scan, settings)
        truth = _truth(preparations(NONE), nodules, middle)
        kept.add(f"truth.{number}", truth)
        for name, defects in keys.items():
            prepared = preparations(defects)
            shown = _learnt(source.name, prepared, nodules, settings) | _asked(prepared, truth["z"].tolist())
            kept.add(f"{name}.{number}", shown)
    kept.save(file)


def cut_patient(folder: Path, wanted: Iterable[Defects], settings: Settings, file: Path) -> None:
    """Prepare all slices of one DSB patient for all recipes."""
    scan = read_scan(folder, params.load("reading", ReadingParams)).volume
    preparations, kept = Preparations(scan, settings), Kept()
    for defects in wanted:
        prepared = preparations(defects & IMAGES)
        images = np.asarray([prepared.image(z) for z in prepared.kept], dtype=np.float16)
        pixel_mm = np.array([prepared.pixel_mm(z) for z in prepared.kept])
        size = settings.steps.size_px
        kept.add(key("images", defects), {"images": images.reshape(-1, size, size), "pixel_mm": pixel_mm})
    kept.save(file)


def patients(dsb_root: Path) -> dict[str, Path]:
    """Folders of the DSB patients."""
    return patient_folders(dsb_root)


def _whole(source: Source) -> tuple[Volume, list[NoduleAnnotation], int | None]:
    volume = read_scan(source.file, params.load("reading", ReadingParams)).volume
    return volume, read_annotations(source.file.parent.parent / "annotations.csv").get(source.name, []), None


def _excerpts(source: Source) -> Iterator[tuple[Volume, list[NoduleAnnotation], int | None]]:
    reading, lung_mask = params.load("reading", ReadingParams), params.load("lung_mask", LungMaskParams)
    for excerpt in read_excerpts(source.file.parent.parent, source.name, reading, lung_mask):
        yield excerpt.scan, excerpt.nodules, excerpt.middle


def _places(nodules: Sequence[NoduleAnnotation]) -> tuple[list[tuple[float, float, float]], list[float]]:
    return [nodule.centre_world_xyz for nodule in nodules], [nodule.diameter_mm for nodule in nodules]


def _judged(prepared: PreparedScan, nodules: Sequence[NoduleAnnotation], middle: int | None) -> EvaluationSlices:
    """Evaluation slices: the middle slice of an excerpt, or the selection that the steps make from a whole scan."""
    judged = evaluation_slices(prepared, *_places(nodules), 0 if middle is not None else NODULE_FREE_PER_SCAN)
    if middle is None:
        return judged
    rows = judged.z == middle
    chosen = {name: value[rows] for name, value in vars(judged).items() if name not in ("diameters_mm", "pixel_yx_mm")}
    return replace(judged, **chosen)


def _truth(prepared: PreparedScan, nodules: Sequence[NoduleAnnotation], middle: int | None) -> dict[str, NDArray[Any]]:
    judged = _judged(prepared, nodules, middle)
    told = [judged.truth(row) for row in range(len(judged.z))]
    if middle is not None:  # the excerpt's own nodule counts, not the widest one
        told = [(labels, nodules[0].diameter_mm) for labels in judged.nodules]
    return {
        "z": judged.z,
        "hu": judged.hu,
        "truth": np.asarray([labels for labels, _ in told], dtype=np.uint16).reshape(judged.hu.shape),
        "diameter_mm": np.array([diameter_mm for _, diameter_mm in told], dtype=float),
        "lungs": judged.lungs,
        "pixel_mm2": np.array(np.prod(judged.pixel_yx_mm)),
    }


def _learnt(
    name: str, prepared: PreparedScan, nodules: Sequence[NoduleAnnotation], settings: Settings
) -> dict[str, NDArray[Any]]:
    """Training slices of a recipe, always with the nodule-free ones, whether it uses them or not."""
    learnt = scan_arrays(name, prepared, *_places(nodules), settings.unet_of(NONE, 1), settings.seed)
    shown = {title: getattr(learnt, title) for title in ("z", "images", "masks", "positive")}
    return shown | {"positive_z": learnt.z[learnt.positive]}


def _asked(prepared: PreparedScan, judged_z: Sequence[int]) -> dict[str, NDArray[Any]]:
    """Evaluation slices as a recipe's network sees them; dropped slices are zeros."""
    side, kept = prepared.params.size_px, set(prepared.kept)
    images = [prepared.image(z) if z in kept else np.zeros((side, side)) for z in judged_z]
    boxes = [[box.top, box.left, box.bottom, box.right] for box in (prepared.boxes[z] for z in judged_z)]
    return {
        "judged_images": np.asarray(images, dtype=np.float32).reshape(-1, side, side),
        "judged_seen": np.asarray([z in kept for z in judged_z], dtype=bool),
        "judged_boxes": np.asarray(boxes, dtype=np.int64).reshape(-1, 4),
    }
