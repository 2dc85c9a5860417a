"""The settings that the project is shipped with, for tests of what they do on scans."""

from __future__ import annotations

from code_graph import PROJECT
from nodules import params
from nodules.imaging.lung_mask import LungMaskParams
from nodules.scans.reading import ReadingParams

LUNG_MASK = params.load("lung_mask", LungMaskParams, PROJECT / "params.yaml")
READING = params.load("reading", ReadingParams, PROJECT / "params.yaml")
