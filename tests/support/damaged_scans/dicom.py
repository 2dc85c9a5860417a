"""Unusual and damaged DICOM folders, each with the outcome that it must have."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydicom.uid import (
    MPEG2MPML,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from nodules.imaging.geometry.volume import Volume
from support.damaged_scans import dicom_changes as changes
from support.damaged_scans import dicom_stacks as stacks
from support.damaged_scans.cases import (
    HU_ZYX,
    ORIGIN_XYZ_MM,
    SPACING_ZYX_MM,
    Case,
    Read,
    ReadField,
    Refused,
    linear_volume,
    with_hu,
)
from support.damaged_scans.dicom_changes import Write, beside, each, nth, series
from support.dicom_files import SERIES_UID, change, write_enhanced, write_series

OTHER_UID = "1.2.826.9"


def dicom_rows() -> list[Case]:
    """All rows about DICOM folders."""
    return [*_well_formed(), *_pixels(), *_stacks(), *_directions(), *_companions(), *_damaged()]


def _well_formed() -> list[Case]:
    two_thousand = Volume(np.full((2000, 4, 4), -700, np.int16), (1.0, 0.6, 0.8), (0.0, 0.0, 0.0))
    thick = Volume(HU_ZYX, (7.0, 0.6, 0.8), ORIGIN_XYZ_MM)
    backwards = [5, 2, 0, 4, 1, 3]
    large = np.tile(HU_ZYX, (1, 7, 6))  # GDCM writes rubbish for pictures of a few pixels
    return [
        Case("one_slice", series(hu_zyx=HU_ZYX[:1]), Read(with_hu(HU_ZYX[:1]))),
        Case("2000_slices", stacks.two_thousand_slices, Read(two_thousand)),
        Case("nested_folders_without_suffixes", series(changes.nest), Read()),
        Case("numbers_that_run_the_wrong_way", series(changes.number_backwards), Read()),
        Case("thickness_that_is_not_the_distance", series(each(SliceThickness="2.4")), Read()),
        Case("thick_slices", series(spacing=(7.0, 0.6, 0.8)), Read(thick, says=(r"\b7\.00 mm thick",))),
        Case("thin_slices_far_apart", series(each(SliceThickness="1")), Read(says=("not scanned",))),
        Case("all_air", series(hu_zyx=np.full((6, 5, 7), -1000)), Read(with_hu(np.full((6, 5, 7), -1000)))),
        Case("all_metal", series(hu_zyx=np.full((6, 5, 7), 3071)), Read(with_hu(np.full((6, 5, 7), 3071)))),
        Case("implicit_vr", series(changes.encode(ImplicitVRLittleEndian)), Read()),
        Case("big_endian", series(changes.encode(ExplicitVRBigEndian)), Read()),
        Case("deflated", series(changes.encode(DeflatedExplicitVRLittleEndian)), Read()),
        Case("run_length_encoded", series(changes.encode(RLELossless)), Read()),
        Case("jpeg_lossless", series(changes.encode(JPEGLosslessSV1)), Read()),
        Case("jpeg_ls", series(changes.encode(JPEGLSLossless)), Read()),
        Case("jpeg_2000", series(changes.encode(JPEG2000Lossless), hu_zyx=large), Read(with_hu(large))),
        Case(
            "multi_frame", lambda folder: write_enhanced(folder / "ct", HU_ZYX, SPACING_ZYX_MM, ORIGIN_XYZ_MM), Read()
        ),
        Case("multi_frame_out_of_order_in_a_folder", _multi_frame(order=backwards), Read()),
        Case("multi_frame_of_many_frames_too_few", _multi_frame(NumberOfFrames=2**31 - 1), Refused("frames")),
    ]


def _pixels() -> list[Case]:
    doubled, padded = HU_ZYX.copy(), HU_ZYX.copy()
    doubled[1] = np.clip(2 * (HU_ZYX[1].astype(int) + 1024) - 1500, -1000, 3071)
    padded[2] = -1000
    padded[2, 3, 4] = 40
    own = nth(1, RescaleSlope="2", RescaleIntercept="-1500")
    return [
        Case("own_slope_of_one_slice", series(own), Read(with_hu(doubled))),
        Case("padding_with_the_wrong_sign", series(changes.pad), Read(with_hu(padded))),
        Case("outside_the_field_of_view_below_air", series(changes.below_air), Read()),
        Case("monochrome1", series(each(PhotometricInterpretation="MONOCHROME1")), Read()),
        Case("12_bits_in_16", series(each(BitsStored=12, HighBit=11)), Read()),
        Case("rubbish_in_the_unused_bits", series(changes.soil_high_bits), Read()),
        Case("signed_pixels", series(changes.sign(16)), Read()),
        Case("signed_12_bit_pixels", series(changes.sign(12)), Read()),
        Case("signed_12_bit_pixels_with_rubbish", series(changes.sign(12, filling=5)), Read()),
        Case("without_intercept", series(nth(2, RescaleIntercept=None)), Refused("RescaleIntercept")),
        Case("without_slope", series(nth(2, RescaleSlope=None)), Refused("RescaleSlope")),
        Case("slope_of_zero", series(each(RescaleSlope="0")), Refused("slope 0")),
        Case("without_pixels", series(nth(2, PixelData=None)), Refused("cannot be decoded|damaged")),
        Case("half_of_the_pixels", series(nth(2, PixelData=bytes(34))), Refused("cannot be decoded.*34 found")),
        Case("more_pixels_than_the_size", series(changes.lengthen), Read()),
        Case(
            "monstrous_rows_and_columns",
            series(each(Rows=40000, Columns=40000)),
            Refused("40000.* over|impossible size"),
        ),
        Case("colour_only", series(changes.in_colour), Refused("no CT slice found.*6 x colour")),
        Case("10_bits_allocated", series(nth(1, BitsAllocated=10)), Refused("cannot be decoded")),
        Case("a_film_as_transfer_syntax", series(changes.claim(MPEG2MPML)), Refused("cannot be decoded")),
        Case("unknown_transfer_syntax", series(changes.claim(UID("1.2.3.4.5"))), Refused("decoded|damaged")),
        Case("electron_density", series(each(RescaleType="ED")), Refused("values are ED")),
    ]


def _stacks() -> list[Case]:
    even, uneven = np.arange(6) * 2.5, np.array([0, 2.5, 4.0, 7.5, 10.0, 12.5])
    leaning = ["1", "0", "0", "0", "0.96", "0.28"]
    return [
        Case("exact_duplicates", series(changes.copy_second), Read(says=("1 exact duplicate",))),
        Case(
            "conflicting_duplicates", series(changes.move_onto(2, 1)), Refused("different slices at the same position")
        ),
        Case("missing_slice", stacks.linear_at(np.delete(even, 2)), _FILLED_IN),
        Case("two_missing_slices", stacks.linear_at(np.delete(even, [2, 3])), Refused(r"7\.500 mm between")),
        Case("uneven_slices", stacks.linear_at(uneven), _box((0, 0, 12.5), says=(r"1\.500 to 3\.500 mm apart",))),
        Case("one_slice_far_away", stacks.linear_at(np.array([0, 2.5, 5, 7.5, 40])), Refused(r"32\.500 mm between")),
        Case("tilted_by_16_degrees", stacks.tilted(16), _box((0, 0, 12.5), 16, says=(r"tilt of 16\.0 degrees",))),
        Case("tilted_by_40_degrees", stacks.tilted(40), Refused(r"tilted by 40\.0 degrees")),
        Case("mixed_orientation", series(nth(3, ImageOrientationPatient=leaning)), Refused("mixes orientation")),
        Case("mixed_size", series(changes.cut_a_row), Refused(r"mixes size")),
        Case("mixed_pixel_spacing", series(nth(3, PixelSpacing=["0.6", "0.9"])), Refused("mixes pixel spacing")),
        Case("mixed_frame_of_reference", series(changes.mix_frames), Refused("mixes the frames of reference")),
    ]


def _directions() -> list[Case]:
    lean = np.deg2rad(20)
    oblique = (1, 0, 0, 0, np.cos(lean), np.sin(lean))
    normal = (0, -12.5 * np.sin(lean), 12.5 * np.cos(lean))
    return [
        Case("sagittal", stacks.scanned_along((0, 1, 0, 0, 0, -1)), Read()),
        Case("coronal", stacks.scanned_along((1, 0, 0, 0, 0, -1)), Read()),
        Case("feet_first_supine", stacks.scanned_along((-1, 0, 0, 0, 1, 0)), Read()),
        Case("feet_first_prone", stacks.scanned_along((1, 0, 0, 0, -1, 0)), Read()),
        Case("head_first_prone", stacks.scanned_along((-1, 0, 0, 0, -1, 0)), Read()),
        Case("slices_from_head_to_feet", stacks.scanned_along((0, 1, 0, 1, 0, 0)), Read()),
        Case("oblique", stacks.leaning_stack(oblique, normal), _box(normal, 20, says=(r"20\.0 degrees off",))),
        Case("rows_along_columns", series(each(ImageOrientationPatient=[1, 0, 0, 1, 0, 0])), Refused("orientation")),
        Case("orientation_of_zeros", series(each(ImageOrientationPatient=[0] * 6)), Refused("orientation")),
    ]


def _companions() -> list[Case]:
    scout, reformat = ["ORIGINAL", "PRIMARY", "LOCALIZER"], ["DERIVED", "SECONDARY", "REFORMATTED"]
    localizer = beside("a", hu_zyx=HU_ZYX[:1], ImageType=scout)
    reformatted = beside("d", OTHER_UID, ImageType=reformat)
    smaller = beside("b", OTHER_UID, HU_ZYX[:4])
    other = {"says": ("1 other CT series",), "other_series": 1}
    return [
        Case("empty_folder", lambda folder: folder, Refused(r"no CT slice found \(it is empty\)")),
        Case("folder_of_text_files", changes.text_files, Refused("no CT slice found.*2 x not DICOM")),
        Case("dicomdir_only", changes.dicomdir_only, Refused("no CT slice found.*1 x DICOMDIR")),
        Case("localizer_only", series(each(ImageType=scout)), Refused("no CT slice found.*6 x localizer")),
        Case("localizer_in_the_series", series(localizer), Read(left_out={"localizer": 1})),
        Case("magnetic_resonance_only", series(each(Modality="MR")), Refused("no CT slice found.*6 x modality MR")),
        Case("dose_report", series(changes.report), Read(left_out={"modality SR": 1})),
        Case("secondary_capture", series(changes.capture), Read(left_out={"secondary capture": 1})),
        Case("derived_beside_original", series(reformatted), Read(left_out={"derived": 6})),
        Case("derived_only", series(each(ImageType=reformat)), Read(says=("derived",))),
        Case("two_series", series(smaller), Read(**other)),
        Case("smaller_series_asked_for", series(smaller), Read(with_hu(HU_ZYX[:4]), **other), series_uid=OTHER_UID),
        Case(
            "series_that_is_not_there",
            series(),
            Refused(rf"no CT series 1\.2\.3.*{SERIES_UID} \(6"),
            series_uid="1.2.3",
        ),
        Case("other_files_beside", series(changes.rubbish_beside), Read(left_out={"not DICOM": 3})),
        Case("named_pipe_and_folder_in_itself", series(changes.pipe_and_loop), Read()),
        Case("link_that_leads_nowhere", series(changes.broken_link), Refused("broken link")),
        Case("one_file_of_many", changes.first_file, Refused("one slice; give (its folder|the folder)")),
        Case("nothing_there", lambda folder: folder / "gone", Refused("no such file or folder")),
    ]


def _damaged() -> list[Case]:
    spacing = Refused("size, spacing")
    return [
        Case("cut_in_the_pixels", series(changes.cut(30)), Refused("cannot be decoded|damaged")),
        Case("cut_in_the_header", series(changes.cut(330)), Refused("lacks a valid|damaged")),
        Case("cut_after_the_magic", series(lambda files: os.truncate(files[2], 132)), Refused(r"is damaged|lacks")),
        Case("one_file_of_zero_bytes", series(changes.empty_beside), Read(left_out={"not DICOM": 1})),
        Case("files_of_zero_bytes", series(changes.empty_all), Refused("no CT slice found.*6 x not DICOM")),
        Case("no_preamble", series(changes.drop_preambles), Refused("no CT slice found.*6 x not DICOM")),
        Case("rubbish_after_the_magic", series(changes.rubbish_after_magic), Refused("damaged|lacks")),
        Case("sequences_2000_deep", series(changes.nest_sequences), Refused("damaged|decoded")),
        Case("element_that_claims_4_gigabytes", series(changes.claim_length), Refused("damaged|decoded|lacks")),
        Case("deflated_bomb", series(changes.deflated_bomb), Refused("deflated and unpacks to more")),
        Case("without_pixel_spacing", series(nth(2, PixelSpacing=None)), spacing),
        Case("pixel_spacing_of_zero", series(nth(2, PixelSpacing=["0", "0.8"])), spacing),
        Case("negative_pixel_spacing", series(each(PixelSpacing=["0.6", "-0.8"])), spacing),
        Case("monstrous_pixel_spacing", series(each(PixelSpacing=["1e30", "1e30"])), spacing),
        Case("without_position", series(nth(2, ImagePositionPatient=None)), Refused("position")),
        Case("without_orientation", series(nth(2, ImageOrientationPatient=None)), Refused("position|orientation")),
        Case("words_as_position", series(changes.words_as_position), Refused("position|damaged")),
        Case("without_series_uid", series(nth(2, SeriesInstanceUID=None)), Refused("series UID")),
        Case("single_slice_without_thickness", _thin_air, Refused("single slice without a SliceThickness")),
        Case("absurd_number_of_frames", series(each(NumberOfFrames=2**31 - 1)), Refused("6 x multi-frame")),
    ]


def _multi_frame(**options: object) -> Write:
    def write(folder: Path) -> Path:
        write_enhanced(folder / "ct", HU_ZYX, SPACING_ZYX_MM, ORIGIN_XYZ_MM, **options)
        return folder

    return write


def _thin_air(folder: Path) -> Path:
    (file,) = write_series(folder, HU_ZYX[:1], SPACING_ZYX_MM, ORIGIN_XYZ_MM)
    change(file, SliceThickness=None)
    return folder


def _box(last_slice_xyz_mm: Sequence[float], degrees: float = 0, *, says: tuple[str, ...]) -> ReadField:
    """The linear field between the outermost voxels, rows leaning by an angle about x."""
    lean = np.deg2rad(degrees)
    rows_mm, columns_mm = (HU_ZYX.shape[1] - 1) * SPACING_ZYX_MM[1], (HU_ZYX.shape[2] - 1) * SPACING_ZYX_MM[2]
    last_row = rows_mm * np.array([0, np.cos(lean), np.sin(lean)])
    return ReadField(ORIGIN_XYZ_MM, np.array([last_slice_xyz_mm, last_row, (columns_mm, 0, 0)]), says)


_FILLED_IN = Read(linear_volume(), says=("1 missing slices? filled in by interpolation",), tolerance_hu=1)
