from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pydicom
import pytest

from nodules.scans.hu_range import RangeFinding, examine_range
from support.phantoms import simple_chest

NOTHING = RangeFinding()


def _chest_hu(noise_hu: float = 20.0, seed: int = 0) -> np.ndarray:
    """Half air, a quarter lung, a fifth soft tissue, a little bone; not cut off anywhere."""
    hu = np.repeat([-1000.0] * 10 + [-850.0] * 5 + [45.0] * 4 + [700.0], 20_000).reshape(40, 100, 100)
    return hu + np.random.default_rng(seed).normal(0, noise_hu, hu.shape)


def _stored(offset_hu: int, lowest: int = 0, **chest: float) -> np.ndarray:
    return np.clip(np.rint(_chest_hu(**chest)) + offset_hu, lowest, 4095).astype(np.uint16)


@pytest.mark.parametrize("noise_hu", [6.0, 20.0, 45.0])
@pytest.mark.parametrize("offset_hu", [1000, 1024])
def test_offset_is_found(offset_hu, noise_hu):
    finding = examine_range(_stored(offset_hu, noise_hu=noise_hu))
    assert finding.offset_hu == offset_hu
    assert f"{offset_hu} above HU" in (finding.repair or "")
    assert (finding.warning, finding.refusal) == (None, None)


@pytest.mark.parametrize("padding", [-1024, -2000, -3024])
def test_padding_does_not_hide_the_offset(padding):
    values = _stored(1024).astype(np.int16)
    values[:, :16] = padding
    assert examine_range(values).offset_hu == 1024


def test_floats_with_an_offset():
    assert examine_range(np.clip(_chest_hu() + 1024, 0, None).astype(np.float32)).offset_hu == 1024


@pytest.mark.parametrize("low", [-1024, -1000])
@pytest.mark.parametrize("high", [400, 3071])
def test_hu_pass_without_a_word(low, high):
    assert examine_range(np.clip(np.rint(_chest_hu()), low, high).astype(np.int16)) == NOTHING


@pytest.mark.parametrize("noise_hu", [0.0, 25.0])
def test_phantom_passes(noise_hu):
    assert examine_range(simple_chest(noise_hu=noise_hu)[0].voxels_zyx) == NOTHING


def test_padded_hu_pass():
    values = np.rint(_chest_hu()).astype(np.int16)
    values[:, :16] = -3024
    assert examine_range(values) == NOTHING


@pytest.mark.parametrize("value", [-1000, -1024, 0, 40, 3071])
def test_one_value_passes(value):
    assert examine_range(np.full((3, 4, 5), value, np.int16)) == NOTHING
    assert examine_range(np.full((1, 1, 1), value, np.int16)) == NOTHING


def test_small_crop_of_soft_tissue_passes():
    crop = np.rint(np.random.default_rng(1).normal(40, 15, (4, 6, 7))).astype(np.int16)
    assert examine_range(crop) == NOTHING
    assert examine_range(np.abs(crop)) == NOTHING


def test_phantom_of_air_water_and_bone_is_not_taken_for_an_offset():
    """Without its background it has 0..100 and 880..1180 only: too few different values to be a scan."""
    values = np.full((10, 10, 10), -1000, np.int16)
    values[2:8], values[4:6] = 40, 1000
    assert examine_range(values) == NOTHING


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.bool_])
def test_8_bit_types_are_refused(dtype):
    values = np.arange(60).reshape(3, 4, 5).astype(dtype)
    assert "8-bit values" in (examine_range(values).refusal or "")


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
@pytest.mark.parametrize("window_hu", [(-1000, 400), (-160, 240)])
def test_8_bit_picture_in_a_wider_type_is_refused(dtype, window_hu):
    low, high = window_hu
    picture = np.rint((np.clip(_chest_hu(), low, high) - low) / (high - low) * 255).astype(dtype)
    assert "0..255 are a windowed 8-bit picture" in (examine_range(picture).refusal or "")


@pytest.mark.parametrize(("shift", "scale"), [(1000, 1400), (300, 700), (600, 450)], ids=["0..1", "-1..1", "z-score"])
def test_values_scaled_for_a_network_are_refused(shift, scale):
    scaled = ((np.clip(_chest_hu(), -1000, 400) + shift) / scale).astype(np.float32)
    assert "scaled for a network" in (examine_range(scaled).refusal or "")


def test_values_of_16_bits_are_refused():
    spread = ((np.clip(_chest_hu(), -1000, 400) + 1000) / 1400 * 65535).astype(np.uint16)
    assert "values reach 65535" in (examine_range(spread).refusal or "")


def test_offset_without_air_is_a_warning():
    tissue = np.rint(np.random.default_rng(1).normal(1064, 20, (4, 20, 30))).astype(np.int16)
    finding = examine_range(tissue)
    assert finding.offset_hu == 0
    assert "is below 0 HU" in (finding.warning or "")


def test_mask_is_a_warning():
    mask = np.zeros((4, 20, 30), np.int16)
    mask[1:3, 5:15, 5:15] = 2
    assert "as in a mask" in (examine_range(mask).warning or "")


def test_hu_clipped_above_the_lung_are_a_warning():
    clipped = np.clip(np.rint(_chest_hu()), -160, 240).astype(np.int16)
    assert "clipped at -160 HU" in (examine_range(clipped).warning or "")


def test_any_shape_and_the_same_answer_every_time():
    values = _stored(1024)
    big = np.broadcast_to(values, (4, *values.shape))  # 1.6 million values: drawn from
    assert examine_range(big) == examine_range(big) == examine_range(values)


REAL = pytest.mark.skipif(not os.environ.get("NODULES_REAL_DATA"), reason="NODULES_REAL_DATA is not set")


@REAL
@pytest.mark.parametrize("name", ["LIDC-IDRI-0001", "CPTAC-C3N-00247", "Lung-PET-CT-Dx-A0001"])
def test_real_scanners_with_and_without_rescale(name):
    import io
    import zipfile

    with zipfile.ZipFile(Path(os.environ["NODULES_REAL_DATA"]) / "dicom" / f"{name}.zip") as archive:
        members = sorted(member for member in archive.namelist() if member.endswith(".dcm"))[::20]
        slices = [pydicom.dcmread(io.BytesIO(archive.read(member))) for member in members]
    stored = np.stack([item.pixel_array for item in slices]).astype(np.int32)
    assert {float(item.RescaleIntercept) for item in slices} == {-1024.0}
    assert examine_range(stored).offset_hu == 1024
    assert examine_range(stored - 1024) == NOTHING
    assert examine_range(np.clip(stored - 1024, -1000, 400)) == NOTHING
    assert examine_range((np.clip(stored - 24, 0, 1400) / 1400 * 255).astype(np.int16)).refusal


@REAL
def test_real_luna16_slices_pass():
    from nodules.scans.result import ReadingParams
    from nodules.scans.tables.luna import series_files
    from nodules.scans.volume_files.reader import read_volume

    params = ReadingParams(max_gap_mm=5.0, max_tilt_degrees=30.0, max_thickness_mm=5.0)
    files = series_files(Path(os.environ["NODULES_REAL_DATA"]) / "luna16_slices", 0)
    readings = [read_volume(file, params) for file in files.values()]
    assert len(readings) == 67
    assert not [text for reading in readings for text in (*reading.repairs, *reading.warnings)]
