"""LIDC's XML files: what is read, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from nodules.scans.lidc import xml_file
from nodules.scans.lidc.xml_file import Contour, MarkedPoint, NoduleReading, find_readings, read_readings, read_series
from nodules.scans.result import ScanError
from support.lidc_files import SCORES, UID, message, nodule, non_nodule, roi, scores, square, write

EDGE = square(10, 20, 14, 24)
OUTLINED = nodule(roi(-1.5, EDGE))
RADIOGRAPH = (
    '<IdriReadMessage xmlns="http://www.nih.gov/idri"><ResponseHeader><SeriesInstanceUID>1.2</SeriesInstanceUID>'
    "</ResponseHeader><CXRreadingSession/></IdriReadMessage>"
)


@pytest.fixture
def xml(tmp_path) -> Path:
    return tmp_path / "069.xml"


def test_outlines_scores_and_points_are_read(xml):
    hole = roi(-1.5, square(11, 21, 13, 23), "FALSE")
    small = nodule(roi(7.25, [(30, 40)]), characteristics="")
    write(xml, message(nodule(roi(-1.5, EDGE), hole) + small, "", OUTLINED + non_nodule(3.0, 50, 60), ""))
    read = read_readings(xml)
    outer, inner = Contour(-1.5, tuple(EDGE), True), Contour(-1.5, tuple(square(11, 21, 13, 23)), False)
    assert (read.series_uid, read.readers) == (UID, 4)
    assert read.nodules == (NoduleReading(0, (outer, inner), SCORES), NoduleReading(2, (outer,), SCORES))
    assert read.small_nodules == (MarkedPoint(0, 7.25, (30, 40)),)
    assert read.non_nodules == (MarkedPoint(2, 3.0, (50, 60)),)


def test_any_namespace_or_none_is_read(xml):
    text = message(OUTLINED)
    for variant in (text, text.replace("http://www.nih.gov", "http://elsewhere"), text.replace(" xmlns=", " name=")):
        assert len(read_readings(write(xml, variant)).nodules) == 1


@pytest.mark.parametrize("points", [[(30, 40)], [(30, 40), (30, 40)]])
def test_stray_marks_are_no_outline(xml, points):
    write(xml, message(nodule(roi(-1.5, EDGE), roi(1.0, points)), nodule(roi(1.0, points))))
    read = read_readings(xml)
    assert [len(one.contours) for one in read.nodules] == [1]
    assert read.small_nodules == (MarkedPoint(1, 1.0, (30, 40)),)


def test_small_nodule_with_zeros_for_scores(xml):
    zeros = scores(**dict.fromkeys(SCORES, 0))
    read = read_readings(write(xml, message(nodule(roi(1.0, [(30, 40)]), characteristics=zeros))))
    assert (read.nodules, len(read.small_nodules)) == ((), 1)


def test_outline_without_scores_or_of_a_hole_alone_is_left_out(xml):
    unscored, hole = nodule(roi(1.0, EDGE), characteristics=""), nodule(roi(1.0, EDGE, "FALSE"))
    read = read_readings(write(xml, message(unscored, hole)))
    assert (read.nodules, read.small_nodules) == ((), ())


def test_no_findings_at_all(xml):
    read = read_readings(write(xml, message("", "", "", "")))
    assert (read.readers, read.nodules, read.small_nodules, read.non_nodules) == (4, (), (), ())


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is not XML"),
        ("plain text", "is not XML"),
        (message(OUTLINED)[:-20], "is not XML"),
        (RADIOGRAPH, "chest radiographs"),
        ("<html/>", r"expected <LidcReadMessage> with reading sessions, got <html> with 0"),
        (message(), "got <LidcReadMessage> with 0"),
        (message(OUTLINED, uid=""), "SeriesInstanceUid must be digits and dots, got ''"),
        (message(OUTLINED, uid="../../x"), "SeriesInstanceUid must be"),
        (message(nodule(roi("high", EDGE))), "imageZposition must be a number, got 'high'"),
        (message(nodule(roi("nan", EDGE))), "imageZposition must be a number"),
        (message(nodule(roi("1e300", EDGE))), "imageZposition must be a number"),
        (message(nodule(roi(1.0, EDGE, "MAYBE"))), "inclusion must be TRUE or FALSE, got 'MAYBE'"),
        (message(nodule(roi(1.0, [(1, 2), (3.5, 4), (5, 6)]))), "xCoord must be a whole number, got 3.5"),
        (message(nodule(roi(1.0, [(1, 2), (3, -4), (5, 6)]))), "yCoord must be a whole number, got -4"),
        (message(nodule(roi(1.0, [(1, 2), ("9" * 5000, 4), (5, 6)]))), "xCoord must be a number, got '999"),
        (message(nodule(roi(1.0, [("", 2)]))), "xCoord must be a number, got ''"),
        (
            message(nodule(roi(1.0, EDGE), characteristics=scores(malignancy=7))),
            "must be 1 to 6, got .*'malignancy': 7",
        ),
        (message(nodule(roi(1.0, EDGE), characteristics=scores(margin=0))), "must be 1 to 6, got .*'margin': 0"),
        (message(nodule(roi(1.0, EDGE), characteristics="<subtlety>5</subtlety>")), "internalStructure must be"),
        (message("", nodule(characteristics="")), "a finding of reading session 2 has no place"),
        (message("<nonNodule/>"), "a finding of reading session 1 has no place"),
    ],
)
def test_what_cannot_be_read_is_refused_with_file_and_reason(xml, text, reason):
    with pytest.raises(ScanError, match=reason) as refused:
        read_readings(write(xml, text))
    assert str(refused.value).startswith(str(xml))
    assert len(str(refused.value)) < 600


LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))


@pytest.mark.parametrize(
    "declared",
    [
        f'<!DOCTYPE x [<!ENTITY l0 "ha">{LAUGHS}]>',
        '<!DOCTYPE x [<!ENTITY secret SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE x SYSTEM "http://localhost/x.dtd">',
    ],
)
def test_document_type_is_refused(xml, declared):
    head, newline, body = message("&l9;").partition("\n")
    with pytest.raises(ScanError, match="declares a document type"):
        read_readings(write(xml, f"{head}{newline}{declared}{body}"))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-7"])
def test_document_type_cannot_hide_behind_another_encoding(xml, encoding):
    text = f'<?xml version="1.0" encoding="{encoding}"?><!DOCTYPE x [<!ENTITY l0 "ha">]><x>&l0;</x>'
    in_utf_7 = b"+ADwAIQ-DOCTYPE"  # what UTF-7 may write for it
    xml.write_bytes(text.encode(encoding).replace(b"<!DOCTYPE", in_utf_7))
    with pytest.raises(ScanError, match="is not XML in UTF-8"):
        read_readings(xml)


def test_undeclared_entity_is_refused(xml):
    with pytest.raises(ScanError, match="undefined entity"):
        read_readings(write(xml, message("&secret;")))


def test_deeply_nested_elements_do_no_harm(xml):
    assert read_readings(write(xml, message("<a>" * 100_000 + "</a>" * 100_000))).nodules == ()


def test_missing_and_too_large_files_are_refused(xml, monkeypatch):
    with pytest.raises(ScanError, match="no such file"):
        read_readings(xml)
    write(xml, message(OUTLINED))
    monkeypatch.setattr(xml_file, "MAX_XML_BYTES", 100)
    with pytest.raises(ScanError, match="more than 100 bytes"):
        read_readings(xml)


def test_files_of_a_folder_are_found_by_series(tmp_path):
    first, second = write(tmp_path / "185" / "1.xml", message("")), write(tmp_path / "186" / "2.xml", message("", ""))
    other = write(tmp_path / "186" / "3.xml", message("", uid="1.2.9"))
    write(tmp_path / "187" / "4.xml", RADIOGRAPH)
    write(tmp_path / "readme.txt", "not looked at")
    (tmp_path / "folder.xml").mkdir()
    assert find_readings(tmp_path) == {UID: (first, second), "1.2.9": (other,)}


def test_folder_without_readings_is_refused(tmp_path):
    with pytest.raises(ScanError, match=r"no such folder.*dataset\.lidc_xml"):
        find_readings(tmp_path / "nowhere")
    write(tmp_path / "1.xml", RADIOGRAPH)
    with pytest.raises(ScanError, match="holds no XML file of a CT series"):
        find_readings(tmp_path)
    strange = write(tmp_path / "2.xml", "<html/>")
    with pytest.raises(ScanError, match=f"{strange.name}: names no series"):
        find_readings(tmp_path)


def test_several_files_of_a_series_must_agree(tmp_path):
    one, same = write(tmp_path / "1.xml", message(OUTLINED)), write(tmp_path / "2.xml", message(OUTLINED + "\n"))
    assert read_series(UID, [one, same]) == read_readings(one)
    other = write(tmp_path / "3.xml", message(OUTLINED, ""))
    with pytest.raises(ScanError, match=r"3\.xml: differs from .*1\.xml"):
        read_series(UID, [one, same, other])
    with pytest.raises(ScanError, match=rf"holds readings of series {UID}, expected 1\.2"):
        read_series("1.2", [one])
