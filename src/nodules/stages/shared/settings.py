"""The sections of params.yaml that belong to the pipeline and to no function in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, MinLen

Layout = Literal["luna16", "dsb"]


@dataclass(frozen=True)
class RunParams:
    """The section `run`.

    Attributes
    ----------
    seed : int
        Of everything that is drawn.
    max_failures : int
        Scans a stage may lose, each named in its `failures.csv`, before it ends with an error.
    """

    seed: Annotated[int, Ge(0)]
    max_failures: Annotated[int, Ge(0)]


@dataclass(frozen=True)
class DatasetParams:
    """The section `dataset`.

    Attributes
    ----------
    luna_root : str
        Folder with LUNA16's annotations.csv and subset0 .. subset9.
    subsets : list of int
        The subsets to use.
    dsb_root : str
        Folder with one DICOM folder a patient and stage1_labels.csv.
    phantoms : list
        Which of the two the pipeline makes itself.
    """

    luna_root: str
    subsets: Annotated[list[int], MinLen(1)]
    dsb_root: str
    phantoms: list[Layout]
