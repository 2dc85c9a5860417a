"""Unusual and damaged MetaImage, NIfTI and NRRD files, each with the outcome that it must have."""

from __future__ import annotations

import gzip
import os

import numpy as np

from nodules.imaging.geometry.volume import Volume
from support.damaged_scans.cases import HU_ZYX, SPACING_ZYX_MM, Case, Read, Refused, with_hu
from support.damaged_scans.volume_file_changes import (
    CHEST_HU,
    colon_name,
    detached,
    far_name,
    framed,
    hide_name,
    image,
    in_mac_lines,
    mac_empty_line,
    mac_line_name,
    matrix,
    mhd,
    of_bytes,
    of_parts,
    pack,
    put,
    renamed,
    same,
    shear,
    single,
    spoil_middle,
    spoil_sum,
    stored_along,
    swap_bytes,
    with_one,
)

_AT_THE_ORIGIN = Read(Volume(HU_ZYX, SPACING_ZYX_MM, (0.0, 0.0, 0.0)), says=("no directions",))


def volume_file_rows() -> list[Case]:
    """All rows about volume files, from a path and as bytes."""
    return [*_values(), *_axes(), *_metaimage(), *_nifti(), *_nrrd(), *_sent()]


def _values() -> list[Case]:
    shifted = np.maximum(CHEST_HU, -1000) + 1024
    windowed = np.rint((CHEST_HU.clip(-1000, 400) + 1000) / 1400 * 255)
    not_hu = Refused("not HU")
    return [
        Case("noise_of_a_chest", image(CHEST_HU), Read(with_hu(CHEST_HU))),
        Case("offset_by_1024", image(shifted), Read(with_hu(CHEST_HU), says=("were 1024 above HU",))),
        Case("offset_by_1024_unsigned", image(shifted, np.uint16), Read(with_hu(CHEST_HU), says=("were 1024 above",))),
        Case("8_bit_window", image(windowed, np.uint8), not_hu),
        Case("8_bit_window_in_16_bits", image(windowed), not_hu),
        Case("scaled_to_0_to_1", image(windowed / 255, np.float32), not_hu),
        Case("fractions", image(CHEST_HU + 0.25, np.float32), Read(with_hu(CHEST_HU))),
        Case("double_precision", image(CHEST_HU - 0.25, np.float64, ".nrrd"), Read(with_hu(CHEST_HU))),
        Case(
            "metal_beyond_12_bits",
            image(np.where(CHEST_HU == -850, 25000, CHEST_HU), np.int32),
            Read(with_hu(np.where(CHEST_HU == -850, 3071, CHEST_HU))),
        ),
        Case("padding_of_minus_32768", image(framed(-32768)), Read(with_hu(framed(-1000)))),
        Case("file_of_air", image(np.full((6, 5, 7), -1000)), Read(with_hu(np.full((6, 5, 7), -1000)))),
        Case("file_of_metal", image(np.full((6, 5, 7), 3071)), Read(with_hu(np.full((6, 5, 7), 3071)))),
        Case("nan", image(with_one(np.nan), np.float32, ".nii"), Refused("NaN")),
        Case("nan_compressed", image(with_one(np.nan), np.float32, ".nii.gz"), Refused("NaN")),
        Case("infinity", image(with_one(np.inf), np.float32, ".nrrd"), Refused("infinity")),
        Case("complex_numbers", image(CHEST_HU, np.complex64), Refused("real numbers|no readable header|one value")),
    ]


def _axes() -> list[Case]:
    flat = np.zeros((20, 24), np.int16)
    return [
        Case("two_axes", image(flat), Refused("expected a 3-D image")),
        Case("four_axes", image(np.zeros((2, 6, 5, 7)), suffix=".nii"), Refused("expected a 3-D image")),
        Case("four_axes_in_nrrd", image(np.zeros((2, 6, 5, 7)), suffix=".nrrd"), Refused("expected a 3-D image")),
        Case("one_point_in_time", image(HU_ZYX[None], suffix=".mha"), Read(says=("fourth axis.* dropped",))),
        Case("one_point_in_time_in_nifti", image(HU_ZYX[None], suffix=".nii"), Read(says=("fourth axis.* dropped",))),
        Case(
            "red_green_blue", image(np.zeros((6, 5, 7, 3)), np.uint8, is_vector=True), Refused("expected a 3-D image")
        ),
        Case("one_slice_in_a_file", image(HU_ZYX[:1]), Read(with_hu(HU_ZYX[:1]))),
        Case("left_and_back_swapped", stored_along(np.array([[0, 1, 0], [1, 0, 0], [0, 0, 1]])), Read()),
        Case("feet_first_file", stored_along(np.diag([-1, 1, -1]), ".nii"), Read()),
        Case("sagittal_file", stored_along(np.array([[0, 0, 1], [1, 0, 0], [0, -1, 0]]), ".mha"), Read()),
        Case("mirrored_file", stored_along(np.diag([-1, 1, 1]), ".nii.gz"), Read()),
    ]


def _metaimage() -> list[Case]:
    large = b"DimSize = 2147483648 2147483648 2147483648"
    size = b"DimSize = 7 5 6"
    no_grid = Refused("(?i)right angles|geometry|direction|damaged")
    spacing = b"ElementSpacing = 0.8" + rb"[^\n]*"
    return [
        Case("mhd", mhd(), Read()),
        Case("mha_compressed", single(".mha", compress=True), Read()),
        Case("raw_missing", mhd(raw=lambda file: file.unlink()), Refused(r"data file scan\.raw is missing")),
        Case("raw_short", mhd(raw=lambda file: os.truncate(file, 419)), Refused("cut short.*420 bytes, it holds 419")),
        Case("raw_long", mhd(same, lambda data: data + bytes(99)), Refused("519 bytes.* more than the 420")),
        Case("raw_of_zero_bytes", mhd(raw=lambda file: os.truncate(file, 0)), Refused("cut short")),
        Case("zraw_cut", mhd(compress=True, raw=lambda file: os.truncate(file, 50)), Refused("cut short|damaged")),
        Case("zraw_spoilt", mhd(same, spoil_middle, compress=True), Refused("damaged")),
        Case("sizes_of_2_to_31", mhd(put(size, large)), Refused("cut short|over the limit")),
        Case(
            "sizes_that_overflow",
            mhd(put(size, b"DimSize = 4294967296 4294967296 4294967296")),
            Refused("cut short|over"),
        ),
        Case("size_of_zero", mhd(put(size, b"DimSize = 7 5 0")), Refused("DimSize")),
        Case("negative_size", mhd(put(size, b"DimSize = 7 -5 6")), Refused("DimSize")),
        Case("missing_size", mhd(put(size, b"")), Refused("DimSize|readable")),
        Case("10000_axes", mhd(put(b"NDims = 3", b"NDims = 10000")), Refused("NDims|3-D")),
        Case("spacing_of_zero", mhd(put(spacing, b"ElementSpacing = 0.8 0 2.5")), Refused("(?i)spacing|voxels of")),
        Case("negative_spacing", mhd(put(spacing, b"ElementSpacing = 0.8 -0.6 2.5")), Refused("voxels of")),
        Case(
            "spacing_in_metres", mhd(put(spacing, b"ElementSpacing = 8e-4 6e-4 2.5e-3")), Refused("impossible for a CT")
        ),
        Case("spacing_missing", mhd(put(spacing, b"")), Refused("no voxel size")),
        Case("spacing_of_words", mhd(put(spacing, b"ElementSpacing = a b c")), Refused("(?i)spacing|voxels of")),
        Case(
            "directions_missing",
            mhd(put(rb"TransformMatrix[^\n]*", b"Comment = none")),
            Read(says=("no directions",)),
        ),
        Case(
            "singular_directions",
            mhd(matrix("1 0 0 1 0 0 0 0 1")),
            no_grid,
        ),
        Case(
            "directions_of_zeros",
            mhd(matrix("0 0 0 0 0 0 0 0 0")),
            no_grid,
        ),
        Case("directions_that_are_not_numbers", mhd(matrix("nan 0 0 0 1 0 0 0 1")), Refused(".")),
        Case("directions_beyond_all_numbers", mhd(matrix("1 0 0 0 1 0 1e308 0 1")), Refused("TransformMatrix must be")),
        Case("offset_of_nan", mhd(put(rb"Offset[^\n]*", b"Offset = nan 0 0")), Refused("Offset must be")),
        Case("offset_far_away", mhd(put(rb"Offset[^\n]*", b"Offset = 1e308 0 0")), Refused("Offset must be")),
        Case(
            "size_of_10000_digits",
            mhd(put(rb"DimSize[^\n]*", b"DimSize = " + b"9" * 10_000 + b" 6 5")),
            Refused("DimSize"),
        ),
        Case("big_endian_raw", mhd(put(b"MSB = False", b"MSB = True"), swap_bytes), Read()),
        Case("lines_of_windows", mhd(lambda header: header.replace(b"\n", b"\r\n")), Read()),
        Case("raw_of_somebody_else", mhd(put(b"= scan.raw", b"= /etc/passwd")), Refused("beside")),
        Case("raw_in_the_folder_above", mhd(put(b"= scan.raw", b"= ../scan/scan.raw")), Refused("beside")),
        Case("voxels_in_a_list", mhd(put(b"= scan.raw", b"= LIST")), Refused("ElementDataFile")),
        Case("voxels_in_numbered_files", mhd(put(b"= scan.raw", b"= scan%03d.raw 1 6 1")), Refused("ElementDataFile")),
        Case("unknown_type_of_voxel", mhd(put(b"MET_SHORT", b"MET_BANANA")), Refused(".")),
        Case("rubbish_as_header", mhd(lambda header: bytes(range(256)) * 9), Refused("no readable header")),
        Case("rubbish_after_the_first_line", mhd(lambda header: header[:20] + bytes(range(256)) * 9), Refused(".")),
        Case("header_of_zero_bytes", mhd(lambda header: b""), Refused("empty")),
    ]


def _nifti() -> list[Case]:
    return [
        Case("nii_cut_in_the_voxels", single(".nii", lambda data: data[:-1]), Refused("cut short")),
        Case(
            "nii_cut_in_the_header",
            single(".nii", lambda data: data[:200]),
            Refused("no readable header|cut short"),
        ),
        Case("nii_longer", single(".nii", lambda data: data + b"more"), Read()),
        Case("nii_gz_cut", single(".nii.gz", lambda data: data[: len(data) // 2]), Refused("cut short|damaged")),
        Case("nii_gz_without_its_sum", single(".nii.gz", lambda data: data[:-5]), Refused("cut short|damaged")),
        Case(
            "nii_gz_spoilt",
            single(".nii.gz", spoil_sum),
            Refused("damaged|readable header"),
        ),
        Case("nii_gz_of_zero_bytes", single(".nii.gz", lambda data: b""), Refused("empty")),
        Case(
            "nii_with_monstrous_sizes",
            single(".nii", pack(42, "<3h", 32767, 32767, 32767)),
            Refused("cut short|over"),
        ),
        Case("nii_with_negative_sizes", single(".nii", pack(42, "<3h", -7, 5, 6)), Refused(".")),
        Case(
            "nii_with_a_slope",
            single(".nii", pack(112, "<2f", 0.5, -100)),
            Read(with_hu(np.rint(HU_ZYX * 0.5 - 100))),
        ),
        Case("nii_with_a_slope_of_zero", single(".nii", pack(112, "<2f", 0, 100)), Read()),
        Case("nii_with_a_slope_of_nan", single(".nii", pack(112, "<2f", np.nan, 0)), Read()),
        Case(
            "nii_without_directions",
            single(".nii", pack(252, "<2h", 0, 0)),
            _AT_THE_ORIGIN,
        ),
        Case("nii_with_spacing_of_nan", single(".nii", pack(80, "<3f", np.nan, 0.6, 2.5)), Refused(".")),
        Case("nii_with_a_sheared_sform", single(".nii", shear), Refused("(?i)sform|right angles")),
        Case(
            "nii_in_another_byte_order",
            single(".nii", lambda data: data[:40] + bytes(2) + data[42:]),
            Refused("."),
        ),
        Case("nii_named_nrrd", renamed(".nii", "scan.nrrd"), Refused("its content is NIfTI; rename")),
        Case("nii_gz_named_nii", renamed(".nii.gz", "scan.nii"), Refused("rename")),
        Case("mha_named_nii_gz", renamed(".mha", "scan.nii.gz"), Refused("its content is MetaImage; rename")),
        Case(
            "picture_named_nii",
            of_bytes("scan.nii", b"\x89PNG\r\n\x1a\n" + bytes(400)),
            Refused("PNG picture and not NIfTI"),
        ),
        Case("text_named_mha", of_bytes("scan.mha", b"no scan at all\n"), Refused("no readable header")),
        Case("volume_file_of_another_suffix", of_bytes("scan.img", bytes(500)), Refused("unknown kind of file")),
    ]


def _nrrd() -> list[Case]:
    sizes = b"sizes: 7 5 6"
    passwd = b"encoding: raw\ndata file: /etc/passwd"
    return [
        Case("nrrd_with_detached_voxels", detached, Read()),
        Case(
            "nrrd_whose_voxels_are_gone",
            single(".nrrd", put(b"encoding: raw", b"encoding: raw\ndata file: a.raw")),
            Refused("missing"),
        ),
        Case("nrrd_of_somebody_elses_file", single(".nrrd", put(b"encoding: raw", passwd)), Refused("beside")),
        Case("nrrd_cut", single(".nrrd", lambda data: data[:-1]), Refused("cut short")),
        Case(
            "nrrd_with_monstrous_sizes",
            single(".nrrd", put(sizes, b"sizes: 2147483648 2147483648 2147483648")),
            Refused("."),
        ),
        Case("nrrd_with_a_negative_size", single(".nrrd", put(sizes, b"sizes: 7 5 -6")), Refused("sizes")),
        Case("nrrd_without_space", single(".nrrd", put(b"space: left-posterior-superior\n", b"")), Refused(".")),
        Case("nrrd_header_only", single(".nrrd", lambda data: data[: data.index(b"\n\n") + 2]), Refused("cut short")),
        Case(
            "nrrd_of_rubbish",
            single(".nrrd", lambda data: b"NRRD0004\n" + bytes(range(256)) * 4),
            Refused("readable header"),
        ),
        Case(
            "nrrd_in_another_space",
            single(".nrrd", put(b"left-posterior-superior", b"scanner-xyz")),
            Read(says=("no directions",)),
        ),
    ]


def _sent() -> list[Case]:
    elsewhere = "voxels are not in the file"
    return [
        Case("mha_sent", single(".mha"), Read(), is_sent=True),
        Case("nii_gz_sent", single(".nii.gz"), Read(), is_sent=True),
        Case("nrrd_sent", single(".nrrd"), Read(), is_sent=True),
        Case("mhd_sent", mhd(), Refused(elsewhere), is_sent=True),
        Case("mhd_of_passwords_sent", mhd(put(b"= scan.raw", b"= /etc/passwd")), Refused(elsewhere), is_sent=True),
        Case("mha_of_passwords_after_a_comment", mhd(hide_name), Refused(elsewhere), is_sent=True),
        Case(
            "nrrd_of_passwords_sent",
            single(".nrrd", put(b"encoding: raw", b"encoding: raw\ndata file: /etc/passwd")),
            Refused(elsewhere),
            is_sent=True,
        ),
        Case("nrrd_of_passwords_in_lines_of_a_mac", single(".nrrd", in_mac_lines), Refused("."), is_sent=True),
        Case("mha_of_passwords_behind_a_colon", of_parts(colon_name), Refused("."), is_sent=True),
        Case("mha_of_passwords_behind_a_line_of_a_mac", of_parts(mac_line_name), Refused("."), is_sent=True),
        Case("nrrd_of_passwords_after_a_long_comment", single(".nrrd", far_name), Refused("."), is_sent=True),
        Case(
            "nrrd_of_passwords_after_an_empty_line",
            single(".nrrd", mac_empty_line),
            Refused("."),
            is_sent=True,
        ),
        Case("nothing_sent", of_bytes("scan", b""), Refused("unknown kind of data"), is_sent=True),
        Case("rubbish_sent", of_bytes("scan", b"\xff" * 1000), Refused("unknown kind of data"), is_sent=True),
        Case(
            "gzip_of_text_sent",
            of_bytes("scan", gzip.compress(b"no scan", mtime=0)),
            Refused("the sent scan"),
            is_sent=True,
        ),
    ]
