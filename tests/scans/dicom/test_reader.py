from __future__ import annotations

import os
import zipfile
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.uid import EncapsulatedPDFStorage, RLELossless, SecondaryCaptureImageStorage

from nodules.imaging.geometry.volume import Volume
from nodules.scans.dicom import reader as dicom
from nodules.scans.dicom import source as dicom_source
from nodules.scans.dicom.reader import read_series, read_series_bytes
from nodules.scans.dicom.source import FileSource, folder_source
from nodules.scans.result import ReadingParams, ScanError
from support.dicom_files import PATIENT_NAME, SERIES_UID, change, write_enhanced, write_series, zip_folder

DERIVED = ["DERIVED", "SECONDARY", "REFORMATTED"]
SHAPE_ZYX = (4, 5, 6)
SPACING_ZYX_MM = (2.5, 0.6, 0.8)
ORIGIN_XYZ_MM = (-120.5, 33.25, -301.0)
PARAMS = ReadingParams(max_gap_mm=6.0, max_tilt_degrees=25.0, max_thickness_mm=3.0)
STRICT = ReadingParams(max_gap_mm=0.0, max_tilt_degrees=0.0, max_thickness_mm=3.0)


@pytest.fixture
def hu() -> np.ndarray:
    return np.random.default_rng(3).integers(-1000, 2000, SHAPE_ZYX)


@pytest.fixture
def files(tmp_path, hu) -> list[Path]:
    """Files of one axial series, foot to head."""
    return write_series(tmp_path / "scan", hu, SPACING_ZYX_MM, ORIGIN_XYZ_MM)


def _read(path: Path, params: ReadingParams = PARAMS) -> Volume:
    return read_series(path, params).volume


def _assert_is(volume: Volume, hu: np.ndarray) -> None:
    assert volume.voxels_zyx.dtype == np.int16
    np.testing.assert_array_equal(volume.voxels_zyx, hu)
    np.testing.assert_allclose(volume.spacing_zyx_mm, SPACING_ZYX_MM)
    np.testing.assert_allclose(volume.origin_xyz_mm, ORIGIN_XYZ_MM)
    np.testing.assert_allclose(volume.direction_xyz, np.eye(3).ravel())


def _set_class(file: Path, uid: str) -> None:
    dataset = pydicom.dcmread(file)
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = uid
    dataset.save_as(file)


class TestWhatIsRead:
    def test_shuffled_files_come_out_foot_to_head(self, files, hu):
        assert [file.name for file in files] != sorted(file.name for file in files)
        _assert_is(_read(files[0].parent), hu)

    def test_nested_folders_and_any_file_name(self, files, hu):
        (files[0].parent / "deep" / "er").mkdir(parents=True)
        files[2].rename(files[0].parent / "deep" / "er" / "IMG 1")
        _assert_is(_read(files[0].parent), hu)

    def test_other_files_are_left_out(self, files, hu, caplog):
        folder = files[0].parent
        (folder / "notes.txt").write_text("hello")
        (folder / "empty").write_bytes(b"")
        (folder / "DICOMDIR").write_bytes(files[0].read_bytes())
        write_series(folder, hu + 1, series_uid="1.2.3", prefix="scout", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
        write_series(folder, hu + 1, series_uid="1.2.4", prefix="pet", Modality="PT")
        (capture,) = write_series(folder, hu[:1], series_uid="1.2.5", prefix="capture")
        _set_class(capture, SecondaryCaptureImageStorage)
        with caplog.at_level("INFO"):
            found = read_series(folder, PARAMS)
        _assert_is(found.volume, hu)
        assert found.left_out == {
            "not DICOM": 2,
            "DICOMDIR": 1,
            "localizer": 4,
            "modality PT": 4,
            "secondary capture": 1,
        }
        assert "notes.txt left out: not DICOM" in caplog.text

    def test_colour_multi_frame_and_placeless_files_are_left_out(self, files, hu):
        folder = files[0].parent
        write_series(folder, hu[:1], series_uid="1.2.3", prefix="fusion", SamplesPerPixel=3)
        write_series(folder, hu[:1], series_uid="1.2.4", prefix="movie", NumberOfFrames=3)
        (placeless,) = write_series(folder, hu[:1], series_uid="1.2.5", prefix="curve")
        change(placeless, ImagePositionPatient=None)
        _set_class(placeless, EncapsulatedPDFStorage)
        found = read_series(folder, PARAMS)
        _assert_is(found.volume, hu)
        assert found.left_out == {"colour picture": 1, "multi-frame": 1, "no position in space": 1}

    def test_image_type_of_a_single_value(self, files, hu):
        for file in files:
            change(file, ImageType="ORIGINAL")
        _assert_is(_read(files[0].parent), hu)

    def test_localizer_within_the_series(self, files, hu):
        write_series(files[0].parent, hu[:1], prefix="scout", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
        found = read_series(files[0].parent, PARAMS)
        _assert_is(found.volume, hu)
        assert found.left_out == {"localizer": 1}

    def test_series_with_most_slices_is_taken(self, files, hu):
        write_series(files[0].parent, hu[:3] + 5, series_uid="1.2.3", prefix="b")
        found = read_series(files[0].parent, PARAMS)
        _assert_is(found.volume, hu)
        assert found.series_uid == SERIES_UID
        assert found.other_series == {"1.2.3": 3}

    def test_the_wanted_series_is_taken(self, files, hu):
        write_series(files[0].parent, hu[:3], series_uid="1.2.3", prefix="b")
        found = read_series(files[0].parent, PARAMS, series_uid="1.2.3")
        np.testing.assert_array_equal(found.volume.voxels_zyx, hu[:3])
        assert found.series_uid == "1.2.3"
        assert found.other_series == {SERIES_UID: 4}

    def test_derived_slices_are_left_out_where_there_are_original_ones(self, files, hu):
        write_series(files[0].parent, np.concatenate([hu, hu]), series_uid="1.2.3", prefix="mpr", ImageType=DERIVED)
        found = read_series(files[0].parent, PARAMS)
        _assert_is(found.volume, hu)
        assert found.left_out == {"derived": 8}
        assert found.other_series == {}
        assert found.warnings == ()

    def test_derived_slices_alone_are_read_with_a_warning(self, files, hu):
        for file in files:
            change(file, ImageType=DERIVED)
        found = read_series(files[0].parent, PARAMS)
        _assert_is(found.volume, hu)
        assert "derived" in found.warnings[0]

    def test_of_equal_series_the_smallest_uid_is_taken(self, files, hu):
        write_series(files[0].parent, hu + 5, SPACING_ZYX_MM, ORIGIN_XYZ_MM, series_uid="0.9", prefix="b")
        _assert_is(_read(files[0].parent), np.minimum(hu + 5, 3071))

    def test_exact_duplicates_are_dropped(self, files, hu):
        (files[0].parent / "copy").write_bytes(files[1].read_bytes())
        found = read_series(files[0].parent, PARAMS)
        _assert_is(found.volume, hu)
        assert found.repairs == ("1 exact duplicate slice dropped",)

    def test_each_file_is_opened_for_its_header_and_for_its_pixels(self, files, monkeypatch):
        """Twice, and a third time only where positions coincide."""
        (files[0].parent / "copy").write_bytes(files[1].read_bytes())
        opened = Counter()

        def counting(path: Path) -> FileSource:
            source = folder_source(path)

            def opener(name: str):
                opened[name] += 1
                return source.openers[name]()

            return FileSource(source.label, {name: partial(opener, name) for name in source.openers})

        monkeypatch.setattr(dicom, "folder_source", counting)
        _read(files[0].parent)
        assert opened == {files[0].name: 2, files[1].name: 3, "copy": 2, files[2].name: 2, files[3].name: 2}

    def test_single_slice_is_as_thick_as_it_says(self, tmp_path, hu):
        write_series(tmp_path, hu[:1], SPACING_ZYX_MM, ORIGIN_XYZ_MM)
        _assert_is(_read(tmp_path), hu[:1])

    def test_spacing_comes_from_positions_not_from_thickness(self, files, hu):
        for file in files:
            change(file, SliceThickness="5")
        found = read_series(files[0].parent, PARAMS)
        _assert_is(found.volume, hu)
        assert found.thickness_mm == 5
        assert found.warnings == ()

    def test_slices_thinner_than_their_distance_are_said(self, files, hu):
        for file in files:
            change(file, SliceThickness="1.25")
        found = read_series(files[0].parent, PARAMS)
        _assert_is(found.volume, hu)
        assert found.warnings == (
            "slices are 1.25 mm thick but 2.50 mm apart; the tissue between them was not scanned",
        )

    def test_mixed_thickness_is_said(self, files, hu):
        change(files[2], SliceThickness="3.5")
        found = read_series(files[0].parent, PARAMS)
        _assert_is(found.volume, hu)
        assert found.thickness_mm == 3.5
        assert found.warnings == ("slices are 2.50 to 3.50 mm thick",)

    @pytest.mark.parametrize("thickness", [None, "-1"])
    def test_without_thickness(self, files, hu, thickness):
        for file in files:
            change(file, SliceThickness=thickness)
        found = read_series(files[0].parent, PARAMS)
        _assert_is(found.volume, hu)
        assert found.thickness_mm is None

    def test_rounded_positions_keep_their_mean_spacing(self, tmp_path):
        """Gaps of 0.625 mm written to 0.1 mm: 0.6, 0.7, 0.6, 0.6 ...; the median would lose 4 % of the length."""
        files = write_series(tmp_path, np.zeros((9, 5, 6)), (0.625, 1, 1))
        for k, file in enumerate(files):
            change(file, ImagePositionPatient=["0", "0", f"{k * 0.625:.1f}"])
        assert _read(tmp_path).spacing_zyx_mm[0] == pytest.approx(0.625)


class TestHounsfield:
    def test_each_slice_has_its_own_slope_and_intercept(self, files, hu):
        change(files[1], RescaleSlope="2", RescaleIntercept="-2000")
        wanted = hu.copy()
        wanted[1] = np.clip(2 * (hu[1] + 1024) - 2000, -1000, 3071)
        _assert_is(_read(files[0].parent), wanted)

    def test_fractions_are_rounded(self, files, hu):
        change(files[0], RescaleSlope="0.3", RescaleIntercept="0.2", PixelData=np.full((5, 6), 8, np.uint16).tobytes())
        assert (_read(files[0].parent).voxels_zyx[0] == 3).all()  # 0.3 * 8 + 0.2 = 2.6

    def test_a_forgotten_intercept_is_mended_and_said(self, tmp_path):
        """As an anonymiser leaves it: air 24, fat 924, water 1024, and an intercept of 0."""
        rng = np.random.default_rng(0)
        true = np.concatenate([rng.normal(-1000, 8, (3, 20, 30)), rng.normal(0, 60, (3, 20, 30))], axis=1).round()
        write_series(tmp_path, true.clip(-1024), RescaleIntercept="-0")
        found = read_series(tmp_path, PARAMS)
        np.testing.assert_array_equal(found.volume.voxels_zyx, true.clip(-1000))
        assert found.repairs[0].startswith("values were 1024 above HU")

    def test_padding_of_signed_pixels_written_unsigned(self, files, hu):
        """The header of LIDC-IDRI-0001: 63536 is -2000 in 16 signed bits."""
        stored = np.full((5, 6), 40, np.int16)
        stored[0, 0] = -2000
        change(files[0], PixelRepresentation=1, RescaleIntercept="0", PixelData=stored.tobytes())
        change(files[0], PixelPaddingValue=63536)
        found = _read(files[0].parent).voxels_zyx[0]
        assert found[0, 0] == -1000
        assert (found.ravel()[1:] == 40).all()

    def test_padding_above_air_becomes_air(self, files, hu):
        stored = np.full((5, 6), 1064, np.uint16)
        stored[2] = 0
        change(files[0], RescaleIntercept="-500", PixelPaddingValue=0, PixelData=stored.tobytes())
        found = _read(files[0].parent).voxels_zyx[0]
        assert (found[2] == -1000).all()
        assert (found[[0, 1, 3, 4]] == 564).all()

    def test_padding_range(self, files, hu):
        stored = np.full((5, 6), 1064, np.uint16)
        stored[0, :4] = [4, 5, 9, 10]
        change(files[0], RescaleIntercept="0", PixelData=stored.tobytes())
        change(files[0], PixelPaddingValue=9, PixelPaddingRangeLimit=5)
        assert _read(files[0].parent).voxels_zyx[0, 0].tolist() == [4, -1000, -1000, 10, 1064, 1064]

    @pytest.mark.parametrize("tag", ["RescaleSlope", "RescaleIntercept"])
    def test_without_rescale_there_are_no_hu(self, files, tag):
        change(files[0], **{tag: None})
        with pytest.raises(ScanError, match=rf"{files[0].name} cannot be decoded to HU.*{tag}"):
            _read(files[0].parent)

    def test_compressed_pixels(self, files, hu):
        for file in files:
            dataset = pydicom.dcmread(file)
            dataset.compress(RLELossless)
            dataset.save_as(file)
        _assert_is(_read(files[0].parent), hu)


class TestOrientation:
    def test_sagittal_series(self, tmp_path):
        """Rows run to the back, columns to the feet: index (slice, row, column) is (x from right to left, -z, y)."""
        stored = np.full(SHAPE_ZYX, -800)
        stored[1, 2, 5] = 900
        write_series(tmp_path, stored, SPACING_ZYX_MM, (10.0, 20.0, 30.0), (0, 1, 0, 0, 0, -1))
        found = _read(tmp_path)
        assert found.shape_zyx == (5, 6, 4)
        np.testing.assert_allclose(found.spacing_zyx_mm, (0.6, 0.8, 2.5))
        np.testing.assert_allclose(found.direction_xyz, np.eye(3).ravel())
        # normal = (0,1,0) x (0,0,-1) = (-1,0,0): x = 10 - 2.5, y = 20 + 5 * 0.8, z = 30 - 2 * 0.6
        index = found.world_to_voxel((7.5, 24.0, 28.8))
        np.testing.assert_allclose(index, (2, 5, 2), atol=1e-6)
        assert found.voxels_zyx[2, 5, 2] == 900

    def test_feet_first_prone(self, tmp_path, hu):
        write_series(tmp_path, hu, SPACING_ZYX_MM, ORIGIN_XYZ_MM, (1, 0, 0, 0, -1, 0))
        found = _read(tmp_path)
        np.testing.assert_array_equal(found.voxels_zyx, hu[::-1, ::-1])
        # the corner moves by 4 rows and by 3 slices: normal is (0, 0, -1)
        np.testing.assert_allclose(found.origin_xyz_mm, (-120.5, 33.25 - 4 * 0.6, -301 - 3 * 2.5))

    @given(
        order=st.permutations(range(3)),
        signs=st.tuples(*[st.sampled_from([-1, 1])] * 2),
        angle=st.floats(-0.03, 0.03),
        spacing=st.tuples(st.floats(0.5, 5.0), st.floats(0.3, 2.0), st.floats(0.3, 2.0)),
        origin=st.tuples(*[st.floats(-400, 400)] * 3),
        index=st.tuples(st.integers(0, 3), st.integers(0, 4), st.integers(0, 5)),
    )
    @settings(max_examples=25, deadline=None)
    def test_a_voxel_stays_where_it_is(self, tmp_path_factory, order, signs, angle, spacing, origin, index):
        turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
        along_x, along_y = (turn @ np.eye(3)[:, list(order)])[:, :2].T * np.array(signs)[:, None]
        stored = np.full(SHAPE_ZYX, -800)
        stored[index] = 900
        folder = tmp_path_factory.mktemp("series")
        write_series(folder, stored, spacing, origin, (*along_x, *along_y))
        normal = np.cross(along_x, along_y)
        k, row, column = index
        world = np.array(origin) + k * spacing[0] * normal + row * spacing[1] * along_y + column * spacing[2] * along_x
        found = _read(folder)
        there = found.world_to_voxel(world)
        np.testing.assert_allclose(there, np.rint(there), atol=1e-3)
        assert found.voxels_zyx[tuple(np.rint(there).astype(int))] == 900
        assert (np.reshape(found.direction_xyz, (3, 3)).diagonal() > 0.99).all()


class TestMultiFrameFile:
    def test_one_file_of_all_slices(self, tmp_path, hu):
        path = write_enhanced(tmp_path / "all.dcm", hu, SPACING_ZYX_MM, ORIGIN_XYZ_MM, order=[2, 0, 3, 1])
        _assert_is(_read(path), hu)
        _assert_is(_read(tmp_path), hu)
        _assert_is(read_series_bytes(path.read_bytes(), PARAMS).volume, hu)

    def test_one_file_of_one_slice(self, files):
        with pytest.raises(ScanError, match=rf"{files[0].name} is one slice; give the folder"):
            _read(files[0])

    def test_a_file_of_another_kind(self, tmp_path):
        (tmp_path / "a.dcm").write_text("hello")
        with pytest.raises(ScanError, match=r"no CT slice found \(1 x not DICOM\)"):
            _read(tmp_path / "a.dcm")

    def test_nothing_but_localizers_in_it(self, tmp_path, hu):
        path = write_enhanced(tmp_path / "all.dcm", hu, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER", "NONE"])
        with pytest.raises(ScanError, match=r"no CT slice found \(1 x localizer\)"):
            _read(path)


class TestRefused:
    def test_different_slices_at_one_position(self, files):
        change(files[2], ImagePositionPatient=["-120.5", "33.25", "-298.5"])
        with pytest.raises(
            ScanError, match=rf"{files[1].name}.* different slices at the same position.*-298\.5"
        ) as caught:
            _read(files[0].parent)
        assert files[2].name in str(caught.value)

    def test_slices_beside_each_other(self, files):
        change(files[2], ImagePositionPatient=["-110.5", "33.25", "-298.5"])
        with pytest.raises(ScanError, match=rf"{files[1].name}.*{files[2].name}.*beside each other"):
            _read(files[0].parent)

    def test_missing_slice(self, tmp_path, hu):
        files = write_series(tmp_path, np.concatenate([hu, hu]), SPACING_ZYX_MM, ORIGIN_XYZ_MM)
        files[3].unlink()
        with pytest.raises(
            ScanError, match=rf"2\.500 mm apart, but 5\.000 mm between {files[2].name} at .*-296\.0"
        ) as caught:
            _read(tmp_path, STRICT)
        assert files[4].name in str(caught.value)

    def test_gap_deviation_of_a_tenth_is_allowed_and_more_is_not(self, tmp_path, hu):
        files = write_series(tmp_path, hu, SPACING_ZYX_MM)
        change(files[3], ImagePositionPatient=["0", "0", "7.74"])
        assert _read(tmp_path, STRICT).spacing_zyx_mm[0] == pytest.approx(2.58)
        change(files[3], ImagePositionPatient=["0", "0", "7.76"])
        with pytest.raises(ScanError, match=r"2\.760 mm between"):
            _read(tmp_path, STRICT)

    def test_mixed_sizes(self, files, hu):
        change(files[3], Rows=4, PixelData=np.zeros((4, 6), np.uint16).tobytes())
        with pytest.raises(ScanError, match=r"mixes size \(5, 6\).*\(4, 6\)"):
            _read(files[0].parent)

    def test_mixed_spacing(self, files):
        change(files[3], PixelSpacing=["0.7", "0.8"])
        with pytest.raises(ScanError, match="mixes pixel spacing"):
            _read(files[0].parent)

    def test_mixed_orientation(self, files):
        change(files[3], ImageOrientationPatient=["1", "0", "0", "0", "0.96", "0.28"])
        with pytest.raises(ScanError, match="mixes orientation"):
            _read(files[0].parent)

    def test_mixed_frames_of_reference(self, files):
        for file in files[:3]:
            change(file, FrameOfReferenceUID="1.2.7")
        change(files[3], FrameOfReferenceUID="1.2.8")
        with pytest.raises(ScanError, match=rf"mixes the frames of reference 1\.2\.7 .*1\.2\.8 \({files[3].name}\)"):
            _read(files[0].parent)

    def test_unknown_series(self, files):
        with pytest.raises(ScanError, match=rf"no CT series 1\.2\.9; available: {SERIES_UID} \(4 slices\)"):
            read_series(files[0].parent, PARAMS, series_uid="1.2.9")

    def test_values_that_are_no_hu(self, tmp_path):
        picture = np.random.default_rng(0).integers(0, 256, (3, 20, 30))
        picture[:, :4] = 0
        write_series(tmp_path, picture)
        with pytest.raises(ScanError, match="windowed 8-bit picture"):
            _read(tmp_path)

    def test_tilted_gantry(self, tmp_path, hu):
        """The table moves along z while slices lean by 16 degrees: 7.5 mm of travel shift the last by 2.1 mm."""
        tilted = (1, 0, 0, 0, 0.96, 0.28)
        files = write_series(tmp_path, hu, SPACING_ZYX_MM, orientation=tilted)
        for k, file in enumerate(files):
            change(file, ImagePositionPatient=["0", "0", f"{2.5 * k}"])
        with pytest.raises(ScanError, match=r"shifted sideways by 2\.1 mm .*by 16\.3 degrees, over the limit of 0"):
            _read(tmp_path, STRICT)

    def test_impossible_orientation(self, tmp_path, hu):
        write_series(tmp_path, hu, orientation=(1, 0, 0, 1, 0, 0))
        with pytest.raises(ScanError, match="impossible orientation"):
            _read(tmp_path)

    @pytest.mark.parametrize("spacing", [["0", "0.8"], ["-1", "0.8"]])
    def test_impossible_spacing(self, files, spacing):
        change(files[0], PixelSpacing=spacing)
        with pytest.raises(ScanError, match=f"{files[0].name} has an impossible size, spacing or position"):
            _read(files[0].parent)

    @pytest.mark.parametrize("tag", ["PixelSpacing", "SeriesInstanceUID", "Rows"])
    def test_missing_tag(self, files, tag):
        change(files[0], **{tag: None})
        with pytest.raises(ScanError, match=f"{files[0].name} lacks a valid"):
            _read(files[0].parent)

    def test_single_slice_without_thickness(self, tmp_path, hu):
        (file,) = write_series(tmp_path, hu[:1])
        change(file, SliceThickness=None)
        with pytest.raises(ScanError, match="single slice without a SliceThickness"):
            _read(tmp_path)

    @pytest.mark.parametrize("cut", [20, 400])
    def test_file_cut_short(self, files, cut):
        os.truncate(files[1], files[1].stat().st_size - cut)
        with pytest.raises(ScanError, match=rf"{files[1].name} (cannot be decoded|is damaged|lacks)"):
            _read(files[0].parent)

    def test_end_slice_cut_short_in_its_header_is_not_lost(self, files):
        os.truncate(files[-1], files[-1].stat().st_size - 350)
        with pytest.raises(ScanError, match=rf"{files[-1].name} lacks a valid"):
            _read(files[0].parent)

    def test_end_slice_cut_behind_the_magic_is_not_lost(self, files):
        os.truncate(files[-1], 132)
        with pytest.raises(ScanError, match=rf"{files[-1].name} is damaged"):
            _read(files[0].parent)

    def test_nothing_there(self, tmp_path):
        with pytest.raises(ScanError, match="no such folder, zip or multi-frame file"):
            _read(tmp_path / "gone")
        with pytest.raises(ScanError, match=r"no CT slice found \(it is empty\)"):
            _read(tmp_path)

    def test_no_ct_in_it(self, tmp_path, hu):
        write_series(tmp_path, hu, Modality="MR")
        (tmp_path / "a.txt").write_text("hello")
        with pytest.raises(ScanError, match=r"no CT slice found \(4 x modality MR, 1 x not DICOM\)"):
            _read(tmp_path)

    def test_multi_frame_is_named(self, tmp_path, hu):
        write_series(tmp_path, hu[:1], NumberOfFrames=3)
        with pytest.raises(ScanError, match="1 x multi-frame"):
            _read(tmp_path)

    def test_no_message_names_the_patient(self, files):
        change(files[2], ImagePositionPatient=["-120.5", "33.25", "-298.5"])
        os.truncate(files[3], files[3].stat().st_size - 4)
        with pytest.raises(ScanError) as caught:
            _read(files[0].parent)
        assert PATIENT_NAME not in str(caught.value)
        assert "secret-17" not in str(caught.value)


class TestZip:
    def test_zip_is_read_like_its_folder(self, tmp_path, files, hu):
        (files[0].parent / "__MACOSX").mkdir()
        (files[0].parent / "__MACOSX" / "._a.dcm").write_bytes(files[0].read_bytes()[:50])
        path = zip_folder(files[0].parent, tmp_path / "scan.zip")
        before = sorted(tmp_path.rglob("*"))
        _assert_is(_read(path), hu)
        _assert_is(read_series_bytes(path.read_bytes(), PARAMS).volume, hu)
        assert sorted(tmp_path.rglob("*")) == before

    def test_not_a_zip(self, tmp_path):
        (tmp_path / "a.zip").write_text("hello")
        with pytest.raises(ScanError, match=r"a\.zip: expected a folder or a zip"):
            _read(tmp_path / "a.zip")

    def test_empty_zip(self, tmp_path):
        zipfile.ZipFile(tmp_path / "a.zip", "w").close()
        with pytest.raises(ScanError, match=r"a\.zip: no CT slice found"):
            _read(tmp_path / "a.zip")

    def test_encrypted_zip(self, tmp_path, files):
        path = zip_folder(files[0].parent, tmp_path / "scan.zip")
        data = bytearray(path.read_bytes())
        directory = data.index(b"PK\x01\x02")
        data[directory + 8] |= 1  # the flag "encrypted" of the first member
        path.write_bytes(data)
        with pytest.raises(ScanError, match="encrypted"):
            _read(path)

    def test_too_large_zip(self, tmp_path, files, monkeypatch):
        path = zip_folder(files[0].parent, tmp_path / "scan.zip")
        monkeypatch.setattr(dicom_source, "MAX_SCAN_BYTES", 1000)
        with pytest.raises(ScanError, match="over the limit of 1000"):
            _read(path)

    def test_damaged_member(self, tmp_path, files):
        path = zip_folder(files[0].parent, tmp_path / "scan.zip")
        data = bytearray(path.read_bytes())
        data[120:160] = b"\xff" * 40
        path.write_bytes(data)
        with pytest.raises(ScanError, match=r"scan\.zip: 0000\.dcm"):
            _read(path)


REAL = os.environ.get("NODULES_REAL_DATA")


@pytest.mark.skipif(not REAL, reason="NODULES_REAL_DATA is not set")
@pytest.mark.parametrize(
    ("name", "shape_zyx", "spacing_zyx_mm"),
    [
        ("LIDC-IDRI-0001", (133, 512, 512), (2.5, 0.703125, 0.703125)),
        ("CPTAC-C3N-00247", (99, 512, 512), (3.0, 0.564453125, 0.564453125)),
        ("Lung-PET-CT-Dx-A0001", (64, 512, 512), (5.0, 0.841796875, 0.841796875)),
    ],
)
def test_real_scans(name, shape_zyx, spacing_zyx_mm):
    scan = _read(Path(REAL) / "dicom" / f"{name}.zip")
    assert scan.shape_zyx == shape_zyx
    np.testing.assert_allclose(scan.spacing_zyx_mm, spacing_zyx_mm)
    np.testing.assert_array_equal(scan.direction_xyz, np.eye(3).ravel())
    assert scan.voxels_zyx.min() == -1000
    middle = scan.voxels_zyx[shape_zyx[0] // 2, 150:350, 100:400]
    assert (middle < -700).mean() > 0.1  # lung
    assert ((middle > -100) & (middle < 200)).mean() > 0.1  # soft tissue


@pytest.mark.skipif(not REAL, reason="NODULES_REAL_DATA is not set")
def test_real_luna16_annotation_lies_in_its_nodule():
    scan = _read(Path(REAL) / "dicom" / "LIDC-IDRI-0001.zip")
    # the row of LUNA16's annotations.csv whose series UID ends in 603192: 23.35 mm
    z, y, x = np.rint(scan.world_to_voxel((56.20840547, 86.34341278, -115.8675792))).astype(int)
    assert scan.voxels_zyx[z - 1 : z + 2, y - 4 : y + 5, x - 4 : x + 5].mean() > -300
