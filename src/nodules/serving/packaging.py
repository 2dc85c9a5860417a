"""Packaging of the whole diagnosis chain as one MLflow model folder."""

from __future__ import annotations

import base64
import shutil
import tempfile
from importlib.metadata import version
from pathlib import Path

import mlflow.pyfunc
import numpy as np
import pandas as pd
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, DataType, Schema
from mlflow.types.schema import Array, Object, Property

import nodules
from nodules.imaging.geometry.volume import AIR_HU, Volume
from nodules.models import chain
from nodules.models.diagnosis import DiagnosisSettings, save_settings
from nodules.scans.volume_files.writer import write_volume
from nodules.serving.report import NODULE_FIELDS

REQUIREMENTS = (
    "keras",
    "matplotlib",
    "mlflow",
    "numpy",
    "pandas",
    "pydantic",
    "pydicom",
    "python-gdcm",
    "scikit-image",
    "scikit-learn",
    "scipy",
    "SimpleITK",
    "skops",
    "tensorflow",
    "xgboost",
)


def package(
    segmenter: Path,
    reducer: Path,
    classifier: Path,
    settings: DiagnosisSettings,
    output: Path,
    malignancy: Path | None = None,
) -> None:
    """Write an MLflow pyfunc model that `mlflow models serve -m` can serve.

    Parameters
    ----------
    segmenter, reducer, classifier : Path
        Folders of the trained models.
    settings : DiagnosisSettings
        Settings of the chain.
    output : Path
        Folder of the MLflow model. It is replaced only once the new model is complete.
    malignancy : Path, optional
        Folder of the network that rates nodules. The classifier needs it if it was trained with the features of
        malignancy.
    """
    parts = {chain.SEGMENTER: segmenter, chain.REDUCER: reducer, chain.CLASSIFIER: classifier}
    if malignancy is not None:
        parts[chain.MALIGNANCY] = malignancy
    with tempfile.TemporaryDirectory(dir=output.parent) as folder:
        whole, model = Path(folder) / "chain", Path(folder) / "model"
        for name, part in parts.items():
            shutil.copytree(part, whole / name)
        save_settings(settings, whole)
        mlflow.pyfunc.save_model(
            path=str(model),
            python_model=str(Path(__file__).with_name("scoring_model.py")),
            artifacts={"chain": str(whole)},
            code_paths=[_clean_copy(Path(nodules.__file__).parent, Path(folder))],
            signature=_signature(),
            input_example=_input_example(Path(folder)),
            pip_requirements=[f"{name}=={version(name)}" for name in REQUIREMENTS],
        )
        _forget_where_it_was_made(model)
        if output.exists():
            shutil.rmtree(output)
        model.replace(output)


def _forget_where_it_was_made(model: Path) -> None:
    """Shorten each path to the part that MLflow reads: absolute paths mean nothing on other machines."""
    description = Model.load(str(model))
    pyfunc = description.flavors["python_function"]
    pyfunc["model_code_path"] = Path(pyfunc["model_code_path"]).name
    for artifact in pyfunc["artifacts"].values():
        artifact["uri"] = artifact["path"]
    description.save(str(model / "MLmodel"))


def _clean_copy(package_folder: Path, folder: Path) -> str:
    copy = folder / "code" / package_folder.name
    shutil.copytree(package_folder, copy, ignore=shutil.ignore_patterns("__pycache__"))
    return str(copy)


def _signature() -> ModelSignature:
    verdict = Object([Property("status", DataType.string), Property("reasons", Array(DataType.string))])
    nodule = Object(
        [
            Property(name, DataType.long if name == "lung" else DataType.double, required=name != "malignancy")
            for name in NODULE_FIELDS
        ]
    )
    moved = Object(
        [
            Property("name", DataType.string),
            Property("value", DataType.double, required=False),
            Property("log_odds", DataType.double),
        ]
    )
    return ModelSignature(
        inputs=Schema([ColSpec(DataType.string, "scan")]),
        outputs=Schema(
            [
                ColSpec(DataType.double, "probability", required=False),
                ColSpec(DataType.double, "suspicion", required=False),
                ColSpec(Array(nodule), "nodules"),
                ColSpec(verdict, "verdict"),
                ColSpec(DataType.string, "facts"),
                ColSpec(DataType.string, "features"),
                ColSpec(Array(moved), "explanation"),
            ]
        ),
    )


def _input_example(folder: Path) -> pd.DataFrame:
    """A coarse chest with two ellipsoids as lungs: small enough for a readable request, and possible to diagnose."""
    z, y, x = np.mgrid[-1:1:24j, -1:1:40j, -1:1:48j]
    voxels = np.where((x / 0.9) ** 2 + (y / 0.8) ** 2 <= 1, 40, AIR_HU).astype(np.int16)
    for side in (-0.4, 0.4):
        voxels[((x - side) / 0.3) ** 2 + (y / 0.55) ** 2 + (z / 0.85) ** 2 <= 1] = -850
    file = folder / "example.nii.gz"
    write_volume(Volume(voxels, (10.0, 7.5, 7.5)), file)
    return pd.DataFrame({"scan": [base64.b64encode(file.read_bytes()).decode()]})
