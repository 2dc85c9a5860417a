from __future__ import annotations

import io
import os
import struct
from functools import partial
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from nodules.scans.dicom import pixels as dicom_pixels
from nodules.scans.dicom.decoder import decode
from nodules.scans.dicom.pixels import NON_HU_RESCALE_TYPES, read_hu, stated_shape_yx
from nodules.scans.dicom.source import FileSource, folder_source
from nodules.scans.result import ScanError
from support.dicom_files import PATIENT_NAME, change, recompress, write_enhanced, write_series

PACKED = {
    "jpeg-lossless-sv1": JPEGLosslessSV1,
    "jpeg-lossless": JPEGLossless,
    "jpeg-ls": JPEGLSLossless,
    "jpeg-2000": JPEG2000Lossless,
    "rle": RLELossless,
    "deflated": DeflatedExplicitVRLittleEndian,
}
NATIVE = {
    "explicit-little": ExplicitVRLittleEndian,
    "implicit-little": ImplicitVRLittleEndian,
    "explicit-big": ExplicitVRBigEndian,
}
PIXELS = [(0, 16), (0, 12), (1, 16), (1, 12)]
SHAPE_YX = (40, 56)
BITS_STORED = b"\x28\0\x01\x01US\x02\0\x10\0"  # the element as it lies in the file

syntaxes = pytest.mark.parametrize("syntax", [*PACKED.values(), *NATIVE.values()], ids=[*PACKED, *NATIVE])
pixels = pytest.mark.parametrize(("signed", "bits"), PIXELS, ids=["u16", "u12", "s16", "s12"])


@pytest.fixture
def path(tmp_path) -> Path:
    (file,) = write_series(tmp_path / "scan", np.zeros((1, *SHAPE_YX)))
    return file


def _store(path: Path, stored: np.ndarray, signed: int = 0, bits: int = 16, **tags: object) -> None:
    """Write 16-bit words as they are given; slope 1, intercept 0."""
    words = np.asarray(stored).astype(np.int64) & 0xFFFF
    tags = {"RescaleSlope": 1, "RescaleIntercept": 0, "HighBit": bits - 1, **tags}
    change(path, Rows=words.shape[0], Columns=words.shape[1], PixelData=words.astype("<u2").tobytes())
    change(path, PixelRepresentation=signed, BitsStored=bits, **tags)


def _hu(path: Path, frame: int | None = None) -> np.ndarray:
    return read_hu(folder_source(path.parent), path.name, frame)


def _refusal(path: Path, frame: int | None = None) -> str:
    with pytest.raises(ScanError) as caught:
        _hu(path, frame)
    assert path.name in str(caught.value)
    assert PATIENT_NAME not in str(caught.value)
    return str(caught.value)


def _smooth() -> np.ndarray:
    """Values of a CT that every method packs: a slope, with steps to both ends of 12 signed bits and to zero."""
    values = np.add.outer(np.arange(SHAPE_YX[0]) * 9, np.arange(SHAPE_YX[1])) - 300
    values[5:9, 5:9], values[5:9, 20:30], values[20:25, 3:8] = -1000, 2047, 0
    return values


class TestTransferSyntax:
    @syntaxes
    @pixels
    def test_every_syntax_gives_the_same_hu(self, path, syntax, signed, bits):
        hu = _smooth()
        _store(path, hu if signed else hu + 1024, signed, bits, RescaleIntercept=0 if signed else -1024)
        recompress(path, syntax)
        assert pydicom.dcmread(path).file_meta.TransferSyntaxUID == syntax
        found = _hu(path)
        assert found.dtype == np.int16
        np.testing.assert_array_equal(found, hu)

    @pytest.mark.parametrize("syntax", PACKED.values(), ids=PACKED)
    def test_test_files_are_really_compressed(self, path, syntax):
        _store(path, _smooth() + 1024)
        before, words = path.stat().st_size, (_smooth() + 1024).astype("<u2").tobytes()
        recompress(path, syntax)
        assert path.stat().st_size < before - 500
        assert words[:200] not in path.read_bytes()

    @syntaxes
    def test_frames_of_every_syntax(self, tmp_path, syntax):
        hu = np.stack([_smooth(), _smooth()[::-1], _smooth() // 2])
        path = write_enhanced(tmp_path / "a.dcm", hu, order=[2, 0, 1])
        recompress(path, syntax)
        source = folder_source(tmp_path)
        for frame, z in [(0, 2), (2, 1), (1, 0)]:
            np.testing.assert_array_equal(read_hu(source, "a.dcm", frame), hu[z])

    def test_syntax_without_a_decoder(self, path):
        recompress(path, JPEG2000Lossless)
        dataset = pydicom.dcmread(path)
        dataset.file_meta.TransferSyntaxUID = HTJ2KLossless
        dataset.save_as(path)
        assert "cannot be decoded to HU" in _refusal(path)

    def test_unknown_syntax(self, path):
        dataset = pydicom.dcmread(path)
        dataset.file_meta.TransferSyntaxUID = "1.2.3.4"
        pydicom.dcmwrite(path, dataset, implicit_vr=False, little_endian=True, force_encoding=True)
        assert "cannot be decoded to HU" in _refusal(path)

    @pytest.mark.parametrize("syntax", list(PACKED.values())[:4], ids=list(PACKED)[:4])
    def test_codestream_of_another_size(self, path, syntax):
        """Decoders make room for what the codestream says."""
        _store(path, _smooth() + 1024)
        recompress(path, syntax)
        change(path, Rows=20)
        assert "compressed pixels of size (40, 56), but its header states (20, 56)" in _refusal(path)

    @pytest.mark.parametrize("syntax", list(PACKED.values())[:5], ids=list(PACKED)[:5])
    @pytest.mark.parametrize("kept", [0.2, 0.6, 0.97])
    def test_codestream_cut_short_in_a_whole_file(self, path, syntax, kept):
        _store(path, np.random.default_rng(0).integers(0, 4000, SHAPE_YX))
        recompress(path, syntax)
        dataset = pydicom.dcmread(path)
        frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
        dataset.PixelData = encapsulate([frame[: int(kept * len(frame))]])
        dataset.save_as(path)
        assert "cannot be decoded to HU" in (text := _refusal(path))
        assert "\n" not in text

    @pytest.mark.parametrize("syntax", list(PACKED.values())[:5], ids=list(PACKED)[:5])
    def test_codestream_cut_short(self, path, syntax):
        """A decoder may fill up what is missing; the missing end of the file is noticed before."""
        _store(path, np.random.default_rng(0).integers(0, 4000, SHAPE_YX))
        recompress(path, syntax)
        os.truncate(path, path.stat().st_size // 2)
        assert "damaged" in (text := _refusal(path)) or "cannot be decoded" in text


class TestBits:
    def test_garbage_above_12_unsigned_bits(self, path):
        stored = np.arange(24).reshape(4, 6) * 100
        _store(path, stored | (np.arange(24).reshape(4, 6) % 16 << 12), bits=12)
        np.testing.assert_array_equal(_hu(path), stored)

    def test_garbage_above_12_signed_bits(self, path):
        """-1000 is 0xC18 in 12 bits."""
        _store(path, np.array([[0x0C18, 0x5C18, 0xFC18], [0x03E8, 0xF3E8, 0x53E8]]), signed=1, bits=12)
        assert _hu(path).tolist() == [[-1000] * 3, [1000] * 3]

    @pytest.mark.parametrize("syntax", [RLELossless, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
    def test_garbage_in_other_syntaxes(self, path, syntax):
        _store(path, np.array([[0x5C18, 0x73E8]]), signed=1, bits=12)
        dataset = pydicom.dcmread(path)
        if syntax == RLELossless:  # as it is: pydicom's own encoder refuses nothing above BitsStored
            dataset.compress(syntax, dataset.pixel_array.view(np.int16))
            dataset.save_as(path)
        else:
            recompress(path, syntax)
        assert _hu(path).tolist() == [[-1000, 1000]]

    def test_unsigned_words_above_half(self, path):
        _store(path, np.array([[40_000, 65_535, 0]]), RescaleIntercept=-39_000)
        assert _hu(path).tolist() == [[1000, 3071, -1000]]

    def test_bits_that_are_not_the_lowest(self, path):
        _store(path, np.full((4, 6), 0x4000), bits=12, HighBit=15)
        assert "12 of 16 bits, up to bit 15; expected the lowest" in _refusal(path)

    def test_high_bit_does_not_matter_where_all_bits_are_used(self, path):
        _store(path, np.full((4, 6), 7), bits=16, HighBit=11)
        assert (_hu(path) == 7).all()

    def test_eight_bits(self, path):
        change(path, BitsAllocated=8, BitsStored=8, HighBit=7, Rows=2, Columns=2, PixelData=bytes([0, 1, 200, 255]))
        assert _hu(path).tolist() == [[-1000, -1000], [-824, -769]]  # less 1024


class TestAir:
    """What the scanner never measured is air."""

    @pytest.mark.parametrize("value", [-2000, -3024, -32_768])
    def test_out_of_field(self, path, value):
        _store(path, np.array([[value, -999, 40]]), signed=1)
        assert _hu(path).tolist() == [[-1000, -999, 40]]

    def test_padding_of_signed_pixels_written_unsigned(self, path):
        """63536 is -2000 in 16 signed bits; the intercept of 3000 would make it 1000."""
        _store(path, np.array([[-2000, -1999, -3500]]), signed=1, RescaleIntercept=3000, PixelPaddingValue=63_536)
        assert _hu(path).tolist() == [[-1000, 1001, -500]]

    @pytest.mark.parametrize("signed", [0, 1])
    def test_padding_beyond_the_stored_bits(self, path, signed):
        """63536 beside 12 bits is 0xF830, which without its upper bits would be 2096, or -2000 signed."""
        _store(path, np.array([[0xF830, 2047, 100]]), signed, 12, PixelPaddingValue=63_536, RescaleIntercept=1000)
        assert _hu(path).tolist() == [[-1000, 3047, 1100]]

    def test_padding_value_with_garbage_above_it(self, path):
        _store(path, np.array([[0x4005, 0x0005, 6]]), bits=12, PixelPaddingValue=5)
        assert _hu(path).tolist() == [[-1000, -1000, 6]]

    @pytest.mark.parametrize(("value", "limit"), [(5, 9), (9, 5)])
    def test_padding_range(self, path, value, limit):
        _store(path, np.array([[4, 5, 7, 9, 10]]), PixelPaddingValue=value, PixelPaddingRangeLimit=limit)
        assert _hu(path).tolist() == [[4, -1000, -1000, -1000, 10]]

    def test_padding_range_of_signed_pixels_written_unsigned(self, path):
        stored = np.array([[-2000, -1500, -1400, 0, 40]])
        _store(path, stored, 1, RescaleIntercept=1500, PixelPaddingValue=63_536, PixelPaddingRangeLimit=64_036)
        assert _hu(path).tolist() == [[-1000, -1000, 100, 1500, 1540]]

    @pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, JPEGLSLossless])
    @pytest.mark.parametrize("signed", [0, 1])
    def test_padding_in_other_syntaxes(self, path, syntax, signed):
        stored = np.full(SHAPE_YX, 700)
        stored[3] = 50
        _store(path, stored, signed, PixelPaddingValue=50)
        recompress(path, syntax)
        found = _hu(path)
        assert (found[3] == -1000).all()
        assert (found[4:] == 700).all()

    def test_range_limit_without_a_value_is_ignored(self, path):
        _store(path, np.array([[4, 5]]), PixelPaddingRangeLimit=5)
        assert _hu(path).tolist() == [[4, 5]]


class TestMonochrome1:
    """Shown inverted, measured alike: the rescale comes before the display (DICOM PS3.3 C.7.6.3.1.2)."""

    @pytest.mark.parametrize("syntax", [*PACKED.values(), *NATIVE.values()], ids=[*PACKED, *NATIVE])
    def test_hu_are_those_of_monochrome2(self, path, syntax):
        _store(path, _smooth() + 1024, bits=12, RescaleIntercept=-1024, PhotometricInterpretation="MONOCHROME1")
        recompress(path, syntax)
        dataset = pydicom.dcmread(path)
        dataset.PhotometricInterpretation = "MONOCHROME1"
        dataset.save_as(path)
        np.testing.assert_array_equal(_hu(path), _smooth())

    def test_a_falling_slope_turns_the_stored_values(self, path):
        """How a maker who inverts the stored values writes it right."""
        _store(path, np.array([[0, 4095 - 1024]]), PhotometricInterpretation="MONOCHROME1")
        change(path, RescaleSlope=-1, RescaleIntercept=3071)
        assert _hu(path).tolist() == [[3071, 0]]


class TestRescale:
    def test_fractions_are_rounded(self, path):
        _store(path, np.full((4, 6), 8), RescaleSlope="0.3", RescaleIntercept="0.2")
        assert (_hu(path) == 3).all()  # 2.6

    @pytest.mark.parametrize("keyword", ["RescaleSlope", "RescaleIntercept"])
    @pytest.mark.parametrize("value", [None, ""])
    def test_missing(self, path, keyword, value):
        dataset = pydicom.dcmread(path)
        delattr(dataset, keyword)
        if value is not None:
            setattr(dataset, keyword, value)
        dataset.save_as(path)
        assert f"cannot be decoded to HU: it has no {keyword}" in _refusal(path)

    @pytest.mark.parametrize(("slope", "intercept"), [("0", "0"), ("nan", "0"), ("1", "inf")])
    def test_impossible(self, path, slope, intercept):
        raw = {"RescaleSlope": slope, "RescaleIntercept": intercept}
        dataset = pydicom.dcmread(path)
        for keyword, value in raw.items():
            setattr(dataset, keyword, value)
        dataset.save_as(path)
        assert "expected finite values, a slope other than 0" in (text := _refusal(path)) or "cannot be decoded" in text

    def test_two_slopes(self, path):
        change(path, RescaleSlope=["1", "2"])
        assert "cannot be decoded to HU" in _refusal(path)

    @pytest.mark.parametrize("kind", NON_HU_RESCALE_TYPES)
    def test_other_quantities_are_no_hu(self, path, kind):
        change(path, RescaleType=kind)
        assert f"cannot be decoded to HU: its values are {kind}" in _refusal(path)

    @pytest.mark.parametrize("kind", ["HU", "HU_MOD", "US", "", "Hounsfield"])
    def test_hu_and_what_says_nothing(self, path, kind):
        _store(path, np.array([[40]]), RescaleType=kind)
        assert _hu(path).tolist() == [[40]]


class TestFrames:
    @pytest.fixture
    def path(self, tmp_path) -> Path:
        """Each frame has its own rescale, and so other stored values for the same HU."""
        hu = np.stack([np.full(SHAPE_YX, value) for value in (-900, 40, 300)])
        return write_enhanced(
            tmp_path / "scan" / "a.dcm", hu, rescales=[(1, -1024), (2, -2000), (0.5, -3000)], order=[1, 2, 0]
        )

    def test_each_frame_by_its_own_rescale(self, path):
        assert pydicom.dcmread(path).pixel_array[:, 0, 0].tolist() == [1020, 6600, 124]
        assert [int(_hu(path, frame)[3, 4]) for frame in range(3)] == [40, 300, -900]

    def test_shared_rescale(self, tmp_path):
        path = write_enhanced(tmp_path / "b.dcm", np.stack([_smooth(), _smooth() + 5]))
        np.testing.assert_array_equal(_hu(path, 1), _smooth() + 5)

    def test_file_is_read_once_and_each_frame_decoded_alone(self, path, monkeypatch):
        opened, decoded = [], []

        def open_counted() -> io.BytesIO:
            opened.append(1)
            return io.BytesIO(path.read_bytes())

        def decode_counted(codestream: bytes, *description: object) -> np.ndarray:
            decoded.append(decode(codestream, *description))
            return decoded[-1]

        recompress(path, JPEGLSLossless)
        monkeypatch.setattr(dicom_pixels, "decode", decode_counted)
        source = FileSource("scan", {"a": open_counted})
        assert [int(read_hu(source, "a", frame)[3, 4]) for frame in (0, 2, 1, 0)] == [40, -900, 300, 40]
        assert len(opened) == 1
        assert [array.shape for array in decoded] == [SHAPE_YX] * 4

    def test_only_one_multi_frame_file_is_kept(self, path):
        data = path.read_bytes()
        source = FileSource("scan", {name: partial(io.BytesIO, data) for name in "ab"})
        for name in "aba":
            assert read_hu(source, name, 1)[0, 0] == 300
        assert list(source.kept) == ["a"]

    def test_padding_is_that_of_the_file(self, path):
        change(path, PixelPaddingValue=6600)
        assert [int(_hu(path, frame)[3, 4]) for frame in range(3)] == [40, -1000, -900]

    @pytest.mark.parametrize("frame", [-1, 3, 10**9])
    def test_frame_that_is_not_there(self, path, frame):
        assert f"a.dcm holds 3 frames; frame {frame} does not exist" in _refusal(path, frame)

    def test_one_slice_wanted_of_several(self, path):
        assert "a.dcm holds 3 frames; expected one slice" in _refusal(path)

    def test_one_frame_is_a_slice_too(self, tmp_path):
        path = write_enhanced(tmp_path / "b.dcm", _smooth()[None])
        np.testing.assert_array_equal(_hu(path, 0), _smooth())

    def test_without_rescale(self, path):
        dataset = pydicom.dcmread(path)
        del dataset.PerFrameFunctionalGroupsSequence[2].PixelValueTransformationSequence
        dataset.save_as(path)
        assert _hu(path, 0)[0, 0] == 40
        assert "it has no RescaleSlope" in _refusal(path, 2)

    @pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, JPEGLSLossless, RLELossless])
    def test_fewer_frames_than_said(self, path, syntax):
        recompress(path, syntax)
        change(path, NumberOfFrames=4)
        assert "cannot be decoded" in (text := _refusal(path, 0)) or "states 4 frames but holds 3" in text


class TestDamaged:
    @pytest.mark.parametrize("size", [(65_535, 65_535), (0, 6), (4097, 4096)])
    def test_impossible_size(self, path, size):
        change(path, Rows=size[0], Columns=size[1])
        assert f"impossible size {size[0]} x {size[1]}" in _refusal(path)

    @pytest.mark.parametrize("keyword", ["Rows", "BitsStored", "BitsAllocated", "PixelData"])
    def test_missing_tag(self, path, keyword):
        change(path, **{keyword: None})
        assert f"cannot be decoded to HU: 'FileDataset' object has no attribute '{keyword}'" in _refusal(path)

    def test_cut_short(self, path):
        os.truncate(path, path.stat().st_size - 20)
        assert "damaged" in (text := _refusal(path)) or "cannot be decoded" in text

    def test_pixel_representation_is_not_guessed(self, path):
        change(path, PixelRepresentation=None)
        assert "cannot be decoded to HU" in _refusal(path)

    def test_damaged_length_that_swallows_the_patient_stays_unsaid(self, path):
        """An element BitsStored of five bytes, with a name in it."""
        path.write_bytes(path.read_bytes().replace(BITS_STORED, BITS_STORED[:6] + b"\x05\0\x10\0Doe"))
        assert "cannot be decoded to HU: BytesLengthException" in (text := _refusal(path))
        assert "Doe" not in text

    def test_slope_with_other_text_in_it_stays_unsaid(self, path):
        change(path, RescaleSlope="1234567")
        path.write_bytes(path.read_bytes().replace(b"1234567", b"Doe^Jan"))
        assert "cannot be decoded to HU: ValueError" in (text := _refusal(path))
        assert "Doe" not in text

    def test_colour(self, path):
        change(path, SamplesPerPixel=3, PhotometricInterpretation="RGB", PlanarConfiguration=0)
        assert "cannot be decoded" in _refusal(path)

    def test_not_dicom(self, path):
        path.write_text("hello")
        assert "is not DICOM" in _refusal(path)


@pytest.fixture(params=[JPEGLosslessSV1, JPEGLSLossless, JPEG2000Lossless], ids=["jpeg", "jpeg-ls", "jpeg-2000"])
def codestream(request, tmp_path) -> bytes:
    """A slice of 20 rows and 30 columns."""
    (path,) = write_series(tmp_path, np.random.default_rng(1).integers(-1000, 1000, (1, 20, 30)))
    recompress(path, request.param)
    return next(generate_frames(pydicom.dcmread(path).PixelData, number_of_frames=1))


def test_real_codestreams(codestream):
    assert stated_shape_yx(codestream) == (20, 30)


def test_cut_before_its_size(codestream):
    assert stated_shape_yx(codestream[:10]) is None


@pytest.mark.parametrize("data", [b"", b"\xff\xd8", b"hello" * 50, b"\xff\xd8" + b"\xff" * 50, b"\xff\xd8" + bytes(50)])
def test_none_of_the_formats(data):
    assert stated_shape_yx(data) is None


def test_jpeg_2000_in_its_wrapper_and_off_the_corner():
    """SIZ gives the reference grid and the offset of the picture in it (ISO/IEC 15444-1 A.5.1)."""
    size = struct.pack(">4L", 130, 220, 30, 20)  # right, bottom, left, top
    header = b"\xff\x4f\xff\x51" + bytes(4) + size
    assert stated_shape_yx(b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(60) + header) == (200, 100)


def test_jpeg_with_segments_before_the_frame():
    table = b"\xff\xc4" + (2 + 3).to_bytes(2, "big") + b"abc"
    frame = b"\xff\xc3" + (11).to_bytes(2, "big") + b"\x10" + struct.pack(">2H", 12, 34) + b"\1\1\x11\0"
    assert stated_shape_yx(b"\xff\xd8" + table + b"\xff" + frame) == (12, 34)
