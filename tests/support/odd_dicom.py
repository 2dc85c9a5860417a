"""Odd and damaged DICOM folders, each with the outcome that it must have."""

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
from support import dicom_quirks as quirks
from support import dicom_stacks as stacks
from support.dicom_files import SERIES_UID, change, write_enhanced, write_series
from support.dicom_quirks import Write, beside, each, nth, series
from support.odd_inputs import (
    HU_ZYX,
    ORIGIN_XYZ_MM,
    SPACING_ZYX_MM,
    Odd,
    Read,
    ReadField,
    Refused,
    linear_volume,
    with_hu,
)

OTHER_UID = "1.2.826.9"


def dicom_rows() -> list[Odd]:
    """All rows about DICOM folders."""
    return [*_well_formed(), *_pixels(), *_stacks(), *_directions(), *_companions(), *_damaged()]


def _well_formed() -> list[Odd]:
    two_thousand = Volume(np.full((2000, 4, 4), -700, np.int16), (1.0, 0.6, 0.8), (0.0, 0.0, 0.0))
    thick = Volume(HU_ZYX, (7.0, 0.6, 0.8), ORIGIN_XYZ_MM)
    backwards = [5, 2, 0, 4, 1, 3]
    large = np.tile(HU_ZYX, (1, 7, 6))  # GDCM writes rubbish for pictures of a few pixels
    return [
        Odd("one_slice", series(hu_zyx=HU_ZYX[:1]), Read(with_hu(HU_ZYX[:1]))),
        Odd("2000_slices", stacks.two_thousand_slices, Read(two_thousand)),
        Odd("nested_folders_without_suffixes", series(quirks.nest), Read()),
        Odd("numbers_that_run_the_wrong_way", series(quirks.number_backwards), Read()),
        Odd("thickness_that_is_not_the_distance", series(each(SliceThickness="2.4")), Read()),
        Odd("thick_slices", series(spacing=(7.0, 0.6, 0.8)), Read(thick, says=(r"\b7\.00 mm thick",))),
        Odd("thin_slices_far_apart", series(each(SliceThickness="1")), Read(says=("not scanned",))),
        Odd("all_air", series(hu_zyx=np.full((6, 5, 7), -1000)), Read(with_hu(np.full((6, 5, 7), -1000)))),
        Odd("all_metal", series(hu_zyx=np.full((6, 5, 7), 3071)), Read(with_hu(np.full((6, 5, 7), 3071)))),
        Odd("implicit_vr", series(quirks.encode(ImplicitVRLittleEndian)), Read()),
        Odd("big_endian", series(quirks.encode(ExplicitVRBigEndian)), Read()),
        Odd("deflated", series(quirks.encode(DeflatedExplicitVRLittleEndian)), Read()),
        Odd("run_length_encoded", series(quirks.encode(RLELossless)), Read()),
        Odd("jpeg_lossless", series(quirks.encode(JPEGLosslessSV1)), Read()),
        Odd("jpeg_ls", series(quirks.encode(JPEGLSLossless)), Read()),
        Odd("jpeg_2000", series(quirks.encode(JPEG2000Lossless), hu_zyx=large), Read(with_hu(large))),
        Odd("multi_frame", lambda folder: write_enhanced(folder / "ct", HU_ZYX, SPACING_ZYX_MM, ORIGIN_XYZ_MM), Read()),
        Odd("multi_frame_out_of_order_in_a_folder", _multi_frame(order=backwards), Read()),
        Odd("multi_frame_of_many_frames_too_few", _multi_frame(NumberOfFrames=2**31 - 1), Refused("frames")),
    ]


def _pixels() -> list[Odd]:
    doubled, padded = HU_ZYX.copy(), HU_ZYX.copy()
    doubled[1] = np.clip(2 * (HU_ZYX[1].astype(int) + 1024) - 1500, -1000, 3071)
    padded[2] = -1000
    padded[2, 3, 4] = 40
    own = nth(1, RescaleSlope="2", RescaleIntercept="-1500")
    return [
        Odd("own_slope_of_one_slice", series(own), Read(with_hu(doubled))),
        Odd("padding_with_the_wrong_sign", series(quirks.pad), Read(with_hu(padded))),
        Odd("outside_the_field_of_view_below_air", series(quirks.below_air), Read()),
        Odd("monochrome1", series(each(PhotometricInterpretation="MONOCHROME1")), Read()),
        Odd("12_bits_in_16", series(each(BitsStored=12, HighBit=11)), Read()),
        Odd("rubbish_in_the_unused_bits", series(quirks.soil_high_bits), Read()),
        Odd("signed_pixels", series(quirks.sign(16)), Read()),
        Odd("signed_12_bit_pixels", series(quirks.sign(12)), Read()),
        Odd("signed_12_bit_pixels_with_rubbish", series(quirks.sign(12, filling=5)), Read()),
        Odd("without_intercept", series(nth(2, RescaleIntercept=None)), Refused("RescaleIntercept")),
        Odd("without_slope", series(nth(2, RescaleSlope=None)), Refused("RescaleSlope")),
        Odd("slope_of_zero", series(each(RescaleSlope="0")), Refused("slope 0")),
        Odd("without_pixels", series(nth(2, PixelData=None)), Refused("cannot be decoded|damaged")),
        Odd("half_of_the_pixels", series(nth(2, PixelData=bytes(34))), Refused("cannot be decoded.*34 found")),
        Odd("more_pixels_than_the_size", series(quirks.lengthen), Read()),
        Odd(
            "monstrous_rows_and_columns",
            series(each(Rows=40000, Columns=40000)),
            Refused("40000.* over|impossible size"),
        ),
        Odd("colour_only", series(quirks.in_colour), Refused("no CT slice found.*6 x colour")),
        Odd("10_bits_allocated", series(nth(1, BitsAllocated=10)), Refused("cannot be decoded")),
        Odd("a_film_as_transfer_syntax", series(quirks.claim(MPEG2MPML)), Refused("cannot be decoded")),
        Odd("unknown_transfer_syntax", series(quirks.claim(UID("1.2.3.4.5"))), Refused("decoded|damaged")),
        Odd("electron_density", series(each(RescaleType="ED")), Refused("values are ED")),
    ]


def _stacks() -> list[Odd]:
    even, uneven = np.arange(6) * 2.5, np.array([0, 2.5, 4.0, 7.5, 10.0, 12.5])
    leaning = ["1", "0", "0", "0", "0.96", "0.28"]
    return [
        Odd("exact_duplicates", series(quirks.copy_second), Read(says=("1 exact duplicate",))),
        Odd("conflicting_duplicates", series(quirks.move_onto(2, 1)), Refused("different slices at the same position")),
        Odd("missing_slice", stacks.linear_at(np.delete(even, 2)), _FILLED_IN),
        Odd("two_missing_slices", stacks.linear_at(np.delete(even, [2, 3])), Refused(r"7\.500 mm between")),
        Odd("uneven_slices", stacks.linear_at(uneven), _box((0, 0, 12.5), says=(r"1\.500 to 3\.500 mm apart",))),
        Odd("one_slice_far_away", stacks.linear_at(np.array([0, 2.5, 5, 7.5, 40])), Refused(r"32\.500 mm between")),
        Odd("tilted_by_16_degrees", stacks.tilted(16), _box((0, 0, 12.5), 16, says=(r"tilt of 16\.0 degrees",))),
        Odd("tilted_by_40_degrees", stacks.tilted(40), Refused(r"tilted by 40\.0 degrees")),
        Odd("mixed_orientation", series(nth(3, ImageOrientationPatient=leaning)), Refused("mixes orientation")),
        Odd("mixed_size", series(quirks.cut_a_row), Refused(r"mixes size")),
        Odd("mixed_pixel_spacing", series(nth(3, PixelSpacing=["0.6", "0.9"])), Refused("mixes pixel spacing")),
        Odd("mixed_frame_of_reference", series(quirks.mix_frames), Refused("mixes the frames of reference")),
    ]


def _directions() -> list[Odd]:
    lean = np.deg2rad(20)
    oblique = (1, 0, 0, 0, np.cos(lean), np.sin(lean))
    normal = (0, -12.5 * np.sin(lean), 12.5 * np.cos(lean))
    return [
        Odd("sagittal", stacks.scanned_along((0, 1, 0, 0, 0, -1)), Read()),
        Odd("coronal", stacks.scanned_along((1, 0, 0, 0, 0, -1)), Read()),
        Odd("feet_first_supine", stacks.scanned_along((-1, 0, 0, 0, 1, 0)), Read()),
        Odd("feet_first_prone", stacks.scanned_along((1, 0, 0, 0, -1, 0)), Read()),
        Odd("head_first_prone", stacks.scanned_along((-1, 0, 0, 0, -1, 0)), Read()),
        Odd("slices_from_head_to_feet", stacks.scanned_along((0, 1, 0, 1, 0, 0)), Read()),
        Odd("oblique", stacks.leaning_stack(oblique, normal), _box(normal, 20, says=(r"20\.0 degrees off",))),
        Odd("rows_along_columns", series(each(ImageOrientationPatient=[1, 0, 0, 1, 0, 0])), Refused("orientation")),
        Odd("orientation_of_zeros", series(each(ImageOrientationPatient=[0] * 6)), Refused("orientation")),
    ]


def _companions() -> list[Odd]:
    scout, reformat = ["ORIGINAL", "PRIMARY", "LOCALIZER"], ["DERIVED", "SECONDARY", "REFORMATTED"]
    localizer = beside("a", hu_zyx=HU_ZYX[:1], ImageType=scout)
    reformatted = beside("d", OTHER_UID, ImageType=reformat)
    smaller = beside("b", OTHER_UID, HU_ZYX[:4])
    other = {"says": ("1 other CT series",), "other_series": 1}
    return [
        Odd("empty_folder", lambda folder: folder, Refused(r"no CT slice found \(it is empty\)")),
        Odd("folder_of_text_files", quirks.text_files, Refused("no CT slice found.*2 x not DICOM")),
        Odd("dicomdir_only", quirks.dicomdir_only, Refused("no CT slice found.*1 x DICOMDIR")),
        Odd("localizer_only", series(each(ImageType=scout)), Refused("no CT slice found.*6 x localizer")),
        Odd("localizer_in_the_series", series(localizer), Read(left_out={"localizer": 1})),
        Odd("magnetic_resonance_only", series(each(Modality="MR")), Refused("no CT slice found.*6 x modality MR")),
        Odd("dose_report", series(quirks.report), Read(left_out={"modality SR": 1})),
        Odd("secondary_capture", series(quirks.capture), Read(left_out={"secondary capture": 1})),
        Odd("derived_beside_original", series(reformatted), Read(left_out={"derived": 6})),
        Odd("derived_only", series(each(ImageType=reformat)), Read(says=("derived",))),
        Odd("two_series", series(smaller), Read(**other)),
        Odd("smaller_series_asked_for", series(smaller), Read(with_hu(HU_ZYX[:4]), **other), series_uid=OTHER_UID),
        Odd(
            "series_that_is_not_there",
            series(),
            Refused(rf"no CT series 1\.2\.3.*{SERIES_UID} \(6"),
            series_uid="1.2.3",
        ),
        Odd("other_files_beside", series(quirks.rubbish_beside), Read(left_out={"not DICOM": 3})),
        Odd("named_pipe_and_folder_in_itself", series(quirks.pipe_and_loop), Read()),
        Odd("link_that_leads_nowhere", series(quirks.broken_link), Refused("broken link")),
        Odd("one_file_of_many", quirks.first_file, Refused("one slice; give (its folder|the folder)")),
        Odd("nothing_there", lambda folder: folder / "gone", Refused("no such file or folder")),
    ]


def _damaged() -> list[Odd]:
    spacing = Refused("size, spacing")
    return [
        Odd("cut_in_the_pixels", series(quirks.cut(30)), Refused("cannot be decoded|damaged")),
        Odd("cut_in_the_header", series(quirks.cut(330)), Refused("lacks a valid|damaged")),
        Odd("cut_after_the_magic", series(lambda files: os.truncate(files[2], 132)), Refused(r"is damaged|lacks")),
        Odd("one_file_of_zero_bytes", series(quirks.empty_beside), Read(left_out={"not DICOM": 1})),
        Odd("files_of_zero_bytes", series(quirks.empty_all), Refused("no CT slice found.*6 x not DICOM")),
        Odd("no_preamble", series(quirks.drop_preambles), Refused("no CT slice found.*6 x not DICOM")),
        Odd("rubbish_after_the_magic", series(quirks.rubbish_after_magic), Refused("damaged|lacks")),
        Odd("sequences_2000_deep", series(quirks.nest_sequences), Refused("damaged|decoded")),
        Odd("element_that_claims_4_gigabytes", series(quirks.claim_length), Refused("damaged|decoded|lacks")),
        Odd("deflated_bomb", series(quirks.deflated_bomb), Refused("deflated and unpacks to more")),
        Odd("without_pixel_spacing", series(nth(2, PixelSpacing=None)), spacing),
        Odd("pixel_spacing_of_zero", series(nth(2, PixelSpacing=["0", "0.8"])), spacing),
        Odd("negative_pixel_spacing", series(each(PixelSpacing=["0.6", "-0.8"])), spacing),
        Odd("monstrous_pixel_spacing", series(each(PixelSpacing=["1e30", "1e30"])), spacing),
        Odd("without_position", series(nth(2, ImagePositionPatient=None)), Refused("position")),
        Odd("without_orientation", series(nth(2, ImageOrientationPatient=None)), Refused("position|orientation")),
        Odd("words_as_position", series(quirks.words_as_position), Refused("position|damaged")),
        Odd("without_series_uid", series(nth(2, SeriesInstanceUID=None)), Refused("series UID")),
        Odd("single_slice_without_thickness", _thin_air, Refused("single slice without a SliceThickness")),
        Odd("absurd_number_of_frames", series(each(NumberOfFrames=2**31 - 1)), Refused("6 x multi-frame")),
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
