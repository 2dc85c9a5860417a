from __future__ import annotations

import math

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from nodules.scans.dicom.frames import frame_count, frame_value, frames_of
from nodules.scans.result import ScanError
from support.dicom_files import PATIENT_NAME, SERIES_UID, write_enhanced

SPACING_ZYX_MM = (2.5, 0.6, 0.8)
ORIGIN_XYZ_MM = (-120.5, 33.25, -301.0)


@pytest.fixture
def header(tmp_path) -> pydicom.FileDataset:
    """Four axial frames of 5 x 6, the third slice first."""
    path = write_enhanced(tmp_path / "a.dcm", np.zeros((4, 5, 6)), SPACING_ZYX_MM, ORIGIN_XYZ_MM, order=[2, 0, 3, 1])
    return pydicom.dcmread(path, stop_before_pixels=True)


def _refusal(header: Dataset) -> str:
    with pytest.raises(ScanError) as caught:
        frames_of(header, "a.dcm", "scan")
    assert PATIENT_NAME not in str(caught.value)
    return str(caught.value)


class TestFramesOf:
    def test_every_frame_in_the_order_of_the_file(self, header):
        header.FrameOfReferenceUID = "1.2.3"
        found = frames_of(header, "a.dcm")
        assert [item.frame for item in found] == [0, 1, 2, 3]
        assert [item.position_xyz[2] for item in found] == [-296.0, -301.0, -293.5, -298.5]
        first = found[0]
        assert (first.name, first.series_uid, first.frame_of_reference_uid) == ("a.dcm", SERIES_UID, "1.2.3")
        assert first.shape_yx == (5, 6)
        assert first.spacing_yx_mm == (0.6, 0.8)
        assert first.position_xyz == (-120.5, 33.25, -296.0)
        assert first.orientation == (1, 0, 0, 0, 1, 0)
        assert first.thickness_mm == 2.5
        assert not first.is_derived

    @given(
        turn=st.floats(-math.pi, math.pi),
        spacing=st.tuples(*[st.floats(0.3, 5.0)] * 3),
        origin=st.tuples(*[st.floats(-400, 400)] * 3),
    )
    @settings(max_examples=15, deadline=None)
    def test_any_place(self, tmp_path_factory, turn, spacing, origin):
        """Rows turned about x: the normal is (0, -sin, cos)."""
        orientation = (1, 0, 0, 0, math.cos(turn), math.sin(turn))
        path = tmp_path_factory.mktemp("scan") / "a.dcm"
        write_enhanced(path, np.zeros((3, 4, 5)), spacing, origin, orientation)
        found = frames_of(pydicom.dcmread(path), "a.dcm")
        for k, item in enumerate(found):
            step = np.array([0, -math.sin(turn), math.cos(turn)]) * k * spacing[0]
            np.testing.assert_allclose(item.position_xyz, np.array(origin) + step, atol=1e-6)
            np.testing.assert_allclose(item.orientation, orientation, atol=1e-8)
            np.testing.assert_allclose(item.spacing_yx_mm, spacing[1:], rtol=1e-7)

    def test_its_own_value_comes_before_the_shared_one(self, header):
        own = Dataset()
        own.PixelSpacing, own.SliceThickness = [0.5, 0.4], 1.25
        header.PerFrameFunctionalGroupsSequence[1].PixelMeasuresSequence = [own]
        found = frames_of(header, "a.dcm")
        assert [item.spacing_yx_mm for item in found] == [(0.6, 0.8), (0.5, 0.4), (0.6, 0.8), (0.6, 0.8)]
        assert [item.thickness_mm for item in found] == [2.5, 1.25, 2.5, 2.5]

    def test_thickness_is_unknown_where_it_is_missing(self, header):
        del header.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SliceThickness
        assert math.isnan(frames_of(header, "a.dcm")[0].thickness_mm)

    def test_derived_frame(self, header):
        header.PerFrameFunctionalGroupsSequence[2].CTImageFrameTypeSequence[0].FrameType = ["DERIVED", "PRIMARY"]
        assert [item.is_derived for item in frames_of(header, "a.dcm")] == [False, False, True, False]

    def test_localizer_frames_are_left_out(self, header):
        header.PerFrameFunctionalGroupsSequence[0].CTImageFrameTypeSequence[0].FrameType[2] = "LOCALIZER"
        assert [item.frame for item in frames_of(header, "a.dcm")] == [1, 2, 3]

    def test_frame_type_of_the_whole_file_where_frames_have_none(self, header):
        for frame in header.PerFrameFunctionalGroupsSequence:
            del frame.CTImageFrameTypeSequence
        header.ImageType = ["DERIVED", "SECONDARY"]
        assert all(item.is_derived for item in frames_of(header, "a.dcm"))


class TestRefused:
    @pytest.mark.parametrize("keyword", ["PlanePositionSequence", "CTImageFrameTypeSequence"])
    def test_frame_without_a_group(self, header, keyword):
        delattr(header.PerFrameFunctionalGroupsSequence[3], keyword)
        if keyword == "PlanePositionSequence":
            assert "a.dcm frame 3 lacks a valid size, spacing, position" in _refusal(header)
        else:  # not needed
            assert len(frames_of(header, "a.dcm")) == 4

    @pytest.mark.parametrize("keyword", ["PixelMeasuresSequence", "PlaneOrientationSequence"])
    def test_without_a_shared_group(self, header, keyword):
        delattr(header.SharedFunctionalGroupsSequence[0], keyword)
        assert "a.dcm frame 0 lacks a valid" in _refusal(header)

    def test_empty_groups(self, header):
        header.SharedFunctionalGroupsSequence = []
        assert "a.dcm frame 0 lacks a valid" in _refusal(header)

    @pytest.mark.parametrize("count", [0, 3, 5, 10**9])
    def test_number_of_frames_that_lies(self, header, count):
        header.NumberOfFrames = count
        assert f"states {count or 1} frames but describes 4" in _refusal(header)

    @pytest.mark.parametrize("position", [[1, 2], [1, 2, 3, 4], [math.nan, 2, 3], [1, 2, 1e9]])
    def test_impossible_position(self, header, position):
        place = Dataset()
        place.ImagePositionPatient = position
        header.PerFrameFunctionalGroupsSequence[1].PlanePositionSequence = [place]
        assert "scan: a.dcm frame 1" in _refusal(header)


class TestFrameValue:
    def test_own_then_shared_then_top(self, header):
        header.RescaleSlope = 7
        group, keyword = "PixelValueTransformationSequence", "RescaleSlope"
        assert frame_value(header, 1, group, keyword) == 1  # shared
        own = Dataset()
        own.RescaleSlope = 3
        header.PerFrameFunctionalGroupsSequence[1].PixelValueTransformationSequence = [own]
        assert [frame_value(header, k, group, keyword) for k in (0, 1)] == [1, 3]
        del header.SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence
        assert frame_value(header, 0, group, keyword) == 7
        assert frame_value(header, None, group, keyword) == 7
        assert frame_value(header, 0, group, "RescaleType") is None

    def test_zero_is_a_value_and_empty_is_none(self):
        header = Dataset()
        header.RescaleIntercept, header.RescaleSlope = 0, None
        assert frame_value(header, None, "PixelValueTransformationSequence", "RescaleIntercept") == 0
        assert frame_value(header, None, "PixelValueTransformationSequence", "RescaleSlope") is None


def test_frame_count_of_a_classic_file_is_one():
    assert frame_count(Dataset()) == 1
