"""Read LIDC-IDRI's XML files: what each reader drew as a nodule and how they scored it, and the points they marked."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from nodules.scans.result import ScanError

CHARACTERISTICS = (
    "subtlety",
    "internalStructure",
    "calcification",
    "sphericity",
    "margin",
    "lobulation",
    "spiculation",
    "texture",
    "malignancy",
)
"""The nine scores of a nodule, each 1 to 5; calcification and internal structure name a kind (6: no calcification)."""

MAX_XML_BYTES = 2**25
"""The largest published file has 2.2 MB."""

_UID = re.compile(r"<SeriesInstanceUid>\s*([0-9.]{1,64})\s*</")  # spelled ...UID in the files of radiographs
_HEAD_CHARACTERS = 2**14  # the series UID stands among the first 2,000
_CT, _RADIOGRAPH = "LidcReadMessage", "IdriReadMessage"
_MAX_SCORE = 6
_FEWEST_POINTS = 3
_MAX_NUMBER = 1e5


@dataclass(frozen=True)
class Contour:
    """A closed outline in one slice.

    Attributes
    ----------
    z_mm : float
        World position of the slice.
    points_xy : tuple
        Column and row of each pixel of the outline, in the slice as it is stored.
    included : bool
        Whether the outline surrounds a part of the nodule; otherwise a hole in it.
    """

    z_mm: float
    points_xy: tuple[tuple[int, int], ...]
    included: bool


@dataclass(frozen=True)
class NoduleReading:
    """A nodule of 3 mm or more as one reader drew and scored it.

    Attributes
    ----------
    reader : int
        Number of the reading session in the file, from 0.
    contours : tuple of Contour
        In the order of the file; at least one is included.
    scores : dict
        Each of `CHARACTERISTICS` to its score.
    """

    reader: int
    contours: tuple[Contour, ...]
    scores: dict[str, int]


@dataclass(frozen=True)
class MarkedPoint:
    """A finding that a reader marked with a point: a nodule below 3 mm, or something of 3 mm or more that is no nodule.

    Attributes
    ----------
    reader : int
        Number of the reading session in the file, from 0.
    z_mm : float
        World position of the slice.
    pixel_xy : tuple of int
        Column and row, in the slice as it is stored.
    """

    reader: int
    z_mm: float
    pixel_xy: tuple[int, int]


@dataclass(frozen=True)
class SeriesReadings:
    """All readings of one CT series.

    Attributes
    ----------
    series_uid : str
        Series UID.
    readers : int
        Number of reading sessions, those without findings included; four as a rule.
    nodules : tuple of NoduleReading
        Nodules of 3 mm or more, reader by reader.
    small_nodules, non_nodules : tuple of MarkedPoint
        Nodules below 3 mm, and findings of 3 mm or more that are no nodule.
    """

    series_uid: str
    readers: int
    nodules: tuple[NoduleReading, ...]
    small_nodules: tuple[MarkedPoint, ...]
    non_nodules: tuple[MarkedPoint, ...]


def find_readings(folder: Path) -> dict[str, tuple[Path, ...]]:
    """Find the XML files of CT series in a folder and the folders below it.

    Only the start of each file is read. The chest radiographs' files, which the published archive also holds, are
    passed over.

    Returns
    -------
    dict
        Series UID to its files, sorted. The archive holds several files of the same content for some series.

    Raises
    ------
    ScanError
        If there is no such folder, no CT series in it, or an XML file of another kind.
    """
    if not folder.is_dir():
        raise ScanError(f"{folder}: no such folder; expected LIDC-IDRI's XML files (dataset.lidc_xml)")
    found: dict[str, tuple[Path, ...]] = {}
    for xml in sorted(path for path in folder.rglob("*.xml") if path.is_file()):
        with xml.open(encoding="utf-8", errors="replace") as file:
            head = file.read(_HEAD_CHARACTERS)
        if uid := _UID.search(head):
            found[uid[1]] = (*found.get(uid[1], ()), xml)
        elif f"<{_RADIOGRAPH}" not in head:
            raise ScanError(f"{xml}: names no series; expected LIDC-IDRI's readings of a CT series; remove the file")
    if not found:
        raise ScanError(
            f"{folder}: holds no XML file of a CT series; expected LIDC-IDRI's XML files (dataset.lidc_xml)"
        )
    return found


def read_series(series_uid: str, files: Sequence[Path]) -> SeriesReadings:
    """Read the file of a series, or several if they agree.

    Raises
    ------
    ScanError
        As `read_readings`; or if a file is of another series, or two files differ.
    """
    first, *others = [read_readings(xml) for xml in files]
    if first.series_uid != series_uid:
        raise ScanError(f"{files[0]}: holds readings of series {first.series_uid}, expected {series_uid}")
    for xml, other in zip(files[1:], others, strict=True):
        if other != first:
            raise ScanError(f"{xml}: differs from {files[0]}, which is of the same series; keep one of them")
    return first


def read_readings(xml: Path) -> SeriesReadings:
    """Read the readings of one CT series.

    An outline of fewer than three points is a stray mark and is left out, as is an outline without scores (as in
    pylidc).

    Raises
    ------
    ScanError
        If the file is missing, too large, not XML in UTF-8, declares a document type (and so could declare entities),
        or is not of a CT series; or if an element is missing or has an impossible value.
    """
    root = _parse(xml)
    name = root.tag.rpartition("}")[2]
    if name == _RADIOGRAPH:
        raise ScanError(f"{xml}: holds readings of chest radiographs, not of a CT series")
    sessions = root.findall("{*}readingSession")
    if name != _CT or not sessions:
        raise ScanError(f"{xml}: expected <{_CT}> with reading sessions, got <{name[:80]}> with {len(sessions)}")
    uid = root.findtext("{*}ResponseHeader/{*}SeriesInstanceUid", "").strip()
    if not re.fullmatch(r"[0-9.]{1,64}", uid):
        raise ScanError(f"{xml}: SeriesInstanceUid must be digits and dots, got '{uid[:80]}'")
    nodules: list[NoduleReading] = []
    small: list[MarkedPoint] = []
    for reader, session in enumerate(sessions):
        for element in session.findall("{*}unblindedReadNodule"):
            contours, scores = _contours(element, xml), _scores(element, xml)
            if scores and any(contour.included for contour in contours):
                nodules.append(NoduleReading(reader, contours, scores))
            elif not contours:
                small.append(_marked_point(reader, element.find("{*}roi"), "{*}edgeMap", xml))
    others = [
        _marked_point(reader, element, "{*}locus", xml)
        for reader, session in enumerate(sessions)
        for element in session.findall("{*}nonNodule")
    ]
    return SeriesReadings(uid, len(sessions), tuple(nodules), tuple(small), tuple(others))


def _parse(xml: Path) -> Element:
    """Parse a file that holds no document type declaration: without one, XML has no entities to expand or to fetch."""
    if not xml.is_file():
        raise ScanError(f"{xml}: no such file; expected one of LIDC-IDRI's XML files")
    if xml.stat().st_size > MAX_XML_BYTES:
        raise ScanError(f"{xml}: has more than {MAX_XML_BYTES} bytes; expected one of LIDC-IDRI's XML files")
    try:
        text = xml.read_text(encoding="utf-8")  # text, so that the parser ignores whatever encoding the file declares
        if "<!DOCTYPE" in text:
            raise ScanError(f"{xml}: declares a document type, which LIDC-IDRI's files do not; get the file again")
        return ElementTree.fromstring(text)  # noqa: S314 - it holds no entities
    except (UnicodeDecodeError, ElementTree.ParseError) as error:
        raise ScanError(f"{xml}: is not XML in UTF-8: {error}; get the file again") from error


def _contours(nodule: Element, xml: Path) -> tuple[Contour, ...]:
    contours = []
    for roi in nodule.findall("{*}roi"):
        included = roi.findtext("{*}inclusion", "").strip()
        if included not in ("TRUE", "FALSE"):
            raise ScanError(f"{xml}: inclusion must be TRUE or FALSE, got '{included[:80]}'")
        points = tuple(_pixel(point, xml) for point in roi.findall("{*}edgeMap"))
        if len(points) >= _FEWEST_POINTS:
            contours.append(Contour(_number(roi, "imageZposition", xml), points, included == "TRUE"))
    return tuple(contours)


def _scores(nodule: Element, xml: Path) -> dict[str, int] | None:
    """The nine scores; None if there are none, or a small nodule has zeros in their place."""
    element = nodule.find("{*}characteristics")
    if element is None or len(element) == 0:
        return None
    scores = {name: _whole_number(element, name, xml) for name in CHARACTERISTICS}
    if not any(scores.values()):
        return None
    if not all(1 <= score <= _MAX_SCORE for score in scores.values()):
        raise ScanError(f"{xml}: the scores of a nodule must be 1 to {_MAX_SCORE}, got {scores}")
    return scores


def _marked_point(reader: int, place: Element | None, point: str, xml: Path) -> MarkedPoint:
    pixel = place.find(point) if place is not None else None
    if place is None or pixel is None:
        raise ScanError(f"{xml}: a finding of reading session {reader + 1} has no place")
    return MarkedPoint(reader, _number(place, "imageZposition", xml), _pixel(pixel, xml))


def _pixel(point: Element, xml: Path) -> tuple[int, int]:
    return _whole_number(point, "xCoord", xml), _whole_number(point, "yCoord", xml)


def _whole_number(element: Element, name: str, xml: Path) -> int:
    number = _number(element, name, xml)
    if number < 0 or number != int(number):
        raise ScanError(f"{xml}: {name} must be a whole number, got {number:g}")
    return int(number)


def _number(element: Element, name: str, xml: Path) -> float:
    text = element.findtext(f"{{*}}{name}", "").strip()
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not abs(number) <= _MAX_NUMBER:
        raise ScanError(f"{xml}: {name} must be a number, got '{text[:80]}'")
    return number
