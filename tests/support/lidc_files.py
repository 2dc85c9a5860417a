"""XML files in LIDC-IDRI's form, put together from small pieces."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from nodules.scans.lidc.xml_file import CHARACTERISTICS

UID = "1.3.6.1.4.1.14519.5.2.1.6279.6001.1"
SCORES = dict(zip(CHARACTERISTICS, (5, 1, 6, 4, 3, 2, 1, 5, 4), strict=True))


def square(left: int, top: int, right: int, bottom: int) -> list[tuple[int, int]]:
    """All pixels (column, row) on the edge of a rectangle in order, the first one again at the end."""
    there = [(x, top) for x in range(left, right)] + [(right, y) for y in range(top, bottom)]
    back = [(x, bottom) for x in range(right, left, -1)] + [(left, y) for y in range(bottom, top, -1)]
    return [*there, *back, (left, top)]


def pixel(name: str, x: object, y: object) -> str:
    return f"<{name}><xCoord>{x}</xCoord><yCoord>{y}</yCoord></{name}>"


def roi(z_mm: object, points: Iterable[tuple[object, object]], inclusion: str = "TRUE") -> str:
    edge = "".join(pixel("edgeMap", x, y) for x, y in points)
    return f"<roi><imageZposition>{z_mm} </imageZposition><inclusion>{inclusion}</inclusion>{edge}</roi>"


def scores(**changed: object) -> str:
    return "".join(f"<{name}>{score}</{name}>" for name, score in (SCORES | changed).items())


def nodule(*rois: str, characteristics: str | None = None) -> str:
    """A nodule; the scores are `SCORES` unless others, or an empty text, are given."""
    text = scores() if characteristics is None else characteristics
    return f"<unblindedReadNodule><noduleID>1</noduleID><characteristics>{text}</characteristics>{''.join(rois)}" + (
        "</unblindedReadNodule>"
    )


def non_nodule(z_mm: float, x: int, y: int) -> str:
    return f"<nonNodule><imageZposition>{z_mm}</imageZposition>{pixel('locus', x, y)}</nonNodule>"


def message(*sessions: str, uid: str = UID, root: str = "LidcReadMessage") -> str:
    """A whole file; each session is the text of its findings."""
    read = "".join(f"<readingSession>{findings}</readingSession>" for findings in sessions)
    header = f"<ResponseHeader><SeriesInstanceUid>{uid}</SeriesInstanceUid></ResponseHeader>"
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<{root} xmlns="http://www.nih.gov">{header}{read}</{root}>\n'


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path
