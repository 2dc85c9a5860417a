"""The sections of params.yaml that belong to the pipeline as a whole: `run` and `dataset`."""

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
        Seed of all random numbers.
    max_failures : int
        Number of scans that may fail before a stage ends with an error; `failures.csv` lists them.
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
    lidc_xml : str or None
        Folder with LIDC-IDRI's XML files. The nodules of scans that it covers are masked by the readers' outlines,
        those of the others by spheres of the annotated diameter.
    subsets : list of int
        The subsets to use.
    dsb_root : str
        Folder with one DICOM folder per patient and stage1_labels.csv.
    phantoms : list
        The data sets that the pipeline creates from synthetic chests.
    """

    luna_root: str
    lidc_xml: str | None
    subsets: Annotated[list[int], MinLen(1)]
    dsb_root: str
    phantoms: list[Layout]
