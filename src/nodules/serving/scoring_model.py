"""The packaged model: MLflow runs this file when it loads `models/diagnosis` (models from code, nothing pickled)."""

from __future__ import annotations

import base64
import binascii
import json
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.pyfunc import PythonModel, PythonModelContext

from nodules.models.diagnosis import Diagnoser
from nodules.scans.read import read_scan_bytes
from nodules.scans.result import ScanError
from nodules.serving.report import refused, report


class ScoringModel(PythonModel):
    """Scans in base64 to probabilities of cancer and nodules."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load networks once, when the server starts."""
        self._diagnoser = Diagnoser.load(Path(context.artifacts["chain"]))

    def predict(self, context: PythonModelContext, model_input: pd.DataFrame, params: Any = None) -> pd.DataFrame:  # noqa: ARG002
        """Diagnose each row's `scan`: base64 of a DICOM zip, .mha, .nii, .nii.gz or .nrrd.

        A scan that cannot be read has the verdict "unusable" and no probability; the others are answered all the same.
        """
        # As objects: among floats a missing probability would become NaN, which no JSON parser but Python's reads.
        return pd.DataFrame([self._answer(scan) for scan in model_input["scan"]], dtype=object)

    def _answer(self, scan: str) -> dict[str, Any]:
        try:
            answer = report(self._diagnoser.diagnose(read_scan_bytes(_decode(scan), self._diagnoser.reading)))
        except ScanError as error:
            answer = refused(error)
        facts = answer["verdict"].pop("facts")
        return answer | {"facts": json.dumps(facts), "features": json.dumps(answer["features"])}


def _decode(scan: str) -> bytes:
    try:
        return base64.b64decode(scan, validate=True)
    except binascii.Error as error:
        raise ScanError(f"the sent scan is not base64: {error}") from error


mlflow.models.set_model(ScoringModel())
