"""Scoring model of the server: MLflow runs this file when it loads the packaged model.

The model is defined by its code ("models from code"), so nothing is pickled.
"""

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
from nodules.serving.report import diagnosis_report, refusal_report


class ScoringModel(PythonModel):
    """MLflow model that diagnoses scans sent in base64."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the networks once, when the server starts."""
        self._diagnoser = Diagnoser.load(Path(context.artifacts["chain"]))

    def predict(self, context: PythonModelContext, model_input: pd.DataFrame, params: Any = None) -> pd.DataFrame:  # noqa: ARG002
        """Diagnose the `scan` of each row: a DICOM zip, .mha, .nii, .nii.gz or .nrrd file in base64.

        A scan that cannot be read gets the verdict "unusable" and neither probability nor suspicion. It does not affect
        the other rows.
        """
        # Objects, because in a column of floats a missing probability would become NaN, which is not valid JSON.
        return pd.DataFrame([self._answer(scan) for scan in model_input["scan"]], dtype=object)

    def _answer(self, scan: str) -> dict[str, Any]:
        try:
            answer = diagnosis_report(self._diagnoser.diagnose(read_scan_bytes(_decode(scan), self._diagnoser.reading)))
        except ScanError as error:
            answer = refusal_report(error)
        facts = answer["verdict"].pop("facts")
        return answer | {"facts": json.dumps(facts), "features": json.dumps(answer["features"])}


def _decode(scan: str) -> bytes:
    try:
        return base64.b64decode(scan, validate=True)
    except binascii.Error as error:
        raise ScanError(f"the scan is not valid base64 ({error}); send the bytes of one file in base64") from error


mlflow.models.set_model(ScoringModel())
