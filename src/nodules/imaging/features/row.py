"""From the nodules and lungs of one patient to a row of named features.

The modules imported here register them, in the order of the table's columns. Without any candidate or region every
feature has a defined value, and `has_candidate` is 0.
"""

from __future__ import annotations

from nodules.imaging.features import cross_sections as tutorial_features

# isort: split
from nodules.imaging.features import patient as patient_features

# isort: split
from nodules.imaging.features import nodule as nodule_features

# isort: split
from nodules.imaging.features.cross_sections import REGION_COLUMNS, find_regions
from nodules.imaging.features.registry import FEATURES, RANKS, Feature, Findings, measure

__all__ = ["FEATURES", "RANKS", "REGION_COLUMNS", "REGISTERED", "Feature", "Findings", "find_regions", "measure"]

REGISTERED = (tutorial_features, patient_features, nodule_features)
