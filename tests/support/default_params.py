"""The default settings of `params.yaml`, for tests of what they do on scans."""

from __future__ import annotations

from nodules import params
from nodules.imaging.lungs.segment import LungMaskParams
from nodules.scans.result import ReadingParams
from support.code_graph import PROJECT

LUNG_MASK = params.load("lung_mask", LungMaskParams, PROJECT / "params.yaml")
READING = params.load("reading", ReadingParams, PROJECT / "params.yaml")
