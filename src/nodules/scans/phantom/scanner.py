"""Simulate the scanner: geometry, blur, correlated noise, couch, and padding outside the round field of view."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from nodules.scans.phantom.anatomy.canvas import Array, Canvas, SmoothField
from nodules.scans.phantom.patient import PhantomParams

LOWEST_HU, HIGHEST_HU = -1024, 3071
PADDINGS_HU = (-2000, -3024)
COUCH_SHELL_HU, COUCH_FOAM_HU = -350.0, -930.0


@dataclass(frozen=True)
class Scanner:
    """Geometry and image quality of one scan."""

    spacing_zyx_mm: tuple[float, float, float]
    blur_mm: float  # SD of the in-plane point spread function
    noise_hu: float  # SD in soft tissue in the middle of the chest
    noise_blur_mm: float
    padding_hu: int | None
    couch: bool


def draw_scanner(rng: np.random.Generator, params: PhantomParams) -> Scanner:
    """Draw the geometry and image quality of one scan."""
    spacing = round(float(rng.uniform(*params.pixel_spacing_mm)), 6)
    thickness = round(float(rng.uniform(*params.slice_thickness_mm)) * 4) / 4
    thickness = float(np.clip(thickness, *params.slice_thickness_mm))
    low, high = params.noise_hu
    noise = low * (high / low) ** rng.random()
    padded = rng.random() < params.padded_share
    padding = int(rng.choice(PADDINGS_HU))
    return Scanner(
        spacing_zyx_mm=(thickness, spacing, spacing),
        blur_mm=float(rng.uniform(0.5, 0.75)),
        noise_hu=float(noise),
        noise_blur_mm=float(rng.uniform(0.32, 0.72)),
        padding_hu=padding if padded else None,
        couch=bool(rng.random() < 0.85),
    )


class Detector:
    """Adds blur and noise to a scan, slice by slice."""

    def __init__(self, scanner: Scanner, canvas: Canvas, depth: SmoothField, rng: np.random.Generator) -> None:
        _, rows, columns = canvas.shape_zyx
        _, dy, dx = canvas.spacing_zyx_mm
        fy = scipy.fft.fftfreq(rows, dy)[:, None].astype(np.float32)
        fx = scipy.fft.rfftfreq(columns, dx)[None, :].astype(np.float32)
        square = fx * fx + fy * fy
        self._shape = (rows, columns)
        self._blur = np.exp(-2 * np.pi**2 * scanner.blur_mm**2 * square).astype(np.float32)
        fine = np.exp(-2 * np.pi**2 * scanner.noise_blur_mm**2 * square)
        self._noise = self._unit_gain(np.sqrt(np.sqrt(square) + 0.02) * fine)
        streaky = np.exp(-2 * np.pi**2 * (0.5 * fy * fy + 40 * fx * fx)) * np.sqrt(np.abs(fy) + 0.01)
        self._streaks = self._unit_gain(streaky)
        self._scanner, self._depth, self._rng = scanner, depth, rng

    def expose(self, image: Array, k: int, shoulders: float) -> Array:
        """Return slice `k` with blur and noise; `shoulders` from 0 to 1 adds the streaks between the shoulders."""
        signal = scipy.fft.rfft2(image) * self._blur
        white = scipy.fft.rfft2(self._rng.standard_normal(self._shape, dtype=np.float32))
        grain = scipy.fft.irfft2(white * (self._noise + np.float32(0.5 * shoulders) * self._streaks), s=self._shape)
        amplitude = self._scanner.noise_hu * (1 + 0.4 * shoulders) * (0.3 + 0.7 * self._thickness(k))
        return scipy.fft.irfft2(signal, s=self._shape) + grain * amplitude

    def _thickness(self, k: int) -> Array:
        """Return 0 outside the body, rising to about 1 in its middle, where attenuation is strongest."""
        return 1 - np.exp(np.clip(self._depth.at(k), -150, 0) / 40)

    def _unit_gain(self, response: NDArray[np.floating]) -> Array:
        weights = np.full(response.shape, 2.0)
        weights[:, 0] = 1
        if self._shape[1] % 2 == 0:
            weights[:, -1] = 1
        gain = np.sqrt((weights * response**2).sum() / np.prod(self._shape))
        return (response / gain).astype(np.float32)


def paint_couch(image: Array, canvas: Canvas, back_mm: float) -> None:
    """Paint the curved couch under a patient whose back is at `back_mm` (thorax y)."""
    _, y, x = canvas.axes_mm
    pixel = canvas.spacing_zyx_mm[1]
    top = np.float32(back_mm) + 8 - (x[None, :] / 26) ** 2 * 0.25
    down = y[:, None] - top
    inside = np.clip(down / pixel + 0.5, 0, 1) * np.clip((32 - down) / pixel + 0.5, 0, 1)
    core = np.clip((down - 2) / pixel + 0.5, 0, 1) * np.clip((30 - down) / pixel + 0.5, 0, 1)
    free = image < -700
    image += inside * free * (COUCH_SHELL_HU - image)
    image += core * free * (COUCH_FOAM_HU - image)


def round_field(shape_yx: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the mask (Y, X) of the circle that a scanner reconstructs."""
    rows, columns = shape_yx
    y = (np.arange(rows) - (rows - 1) / 2) / (rows / 2)
    x = (np.arange(columns) - (columns - 1) / 2) / (columns / 2)
    return y[:, None] ** 2 + x[None, :] ** 2 <= 1


def pad_outside(hu_zyx: NDArray[np.int16], padding_hu: int) -> NDArray[np.int16]:
    """Return a copy of a scan with `padding_hu` outside the round field of view."""
    inside = round_field((hu_zyx.shape[1], hu_zyx.shape[2]))
    return np.where(inside, hu_zyx, np.int16(padding_hu))
