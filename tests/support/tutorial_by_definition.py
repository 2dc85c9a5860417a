"""A second, slow implementation of the tutorial's steps, written from their definitions without the package."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage


def two_means_by_all_cuts(values: NDArray[np.float64]) -> tuple[float, float]:
    """Try every cut between two neighbouring values; the squares are summed about each side's mean."""
    distinct, counts = np.unique(values, return_counts=True)
    best = (math.inf, math.nan, math.nan)
    for cut in range(1, len(distinct)):
        squares, means = 0.0, []
        for part in (slice(0, cut), slice(cut, None)):
            mean = float((distinct[part] * counts[part]).sum() / counts[part].sum())
            squares += float((counts[part] * (distinct[part] - mean) ** 2).sum())
            means.append(mean)
        if squares < best[0]:
            best = (squares, *means)
    return best[1], best[2]


def erode_by_loops(mask: NDArray[np.bool_], side: int = 4) -> NDArray[np.bool_]:
    """A pixel stays where all pixels under a square survive that reaches one pixel down and right more than back."""
    before, after = side // 2 - 1, side // 2
    padded = np.pad(mask, ((before, after),) * 2, mode="symmetric")
    kept = np.ones_like(mask)
    for down in range(side):
        for right in range(side):
            kept &= padded[down : down + mask.shape[0], right : right + mask.shape[1]]
    return kept


def dilate_by_loops(mask: NDArray[np.bool_], side: int = 10, mirrored: bool = False) -> NDArray[np.bool_]:
    """A pixel is added where the square under it holds any: a region grows side / 2 up and left, one less back."""
    before, after = (side // 2, side // 2 - 1) if mirrored else (side // 2 - 1, side // 2)
    padded = np.pad(mask, ((before, after),) * 2, mode="symmetric")
    added = np.zeros_like(mask)
    for down in range(side):
        for right in range(side):
            added |= padded[down : down + mask.shape[0], right : right + mask.shape[1]]
    return added


def flood(mask: NDArray[np.bool_]) -> list[NDArray[np.int64]]:
    """Indices (N, axes) of each connected part, all touching corners included, in the order of their first element."""
    seen, parts = np.zeros_like(mask), []
    steps = list(np.ndindex((3,) * mask.ndim))
    for start in map(tuple, np.argwhere(mask)):
        if seen[start]:
            continue
        seen[start], part, waiting = True, [], deque([start])
        while waiting:
            place = waiting.popleft()
            part.append(place)
            for step in steps:
                beside = tuple(p + s - 1 for p, s in zip(place, step, strict=True))
                inside = all(0 <= b < n for b, n in zip(beside, mask.shape, strict=True))
                if inside and mask[beside] and not seen[beside]:
                    seen[beside] = True
                    waiting.append(beside)
        parts.append(np.array(part))
    return parts


@dataclass(frozen=True)
class SlowLungs:
    levelled: NDArray[np.float64]
    threshold: float
    lungs: NDArray[np.bool_]


def lungs(hu: NDArray[np.int16], mirrored: bool = True) -> SlowLungs:
    """Lungs of a slice of HU; a slice whose darker class is not air is not asked about."""
    plane = hu.astype(np.float64)
    height, width = plane.shape
    plane = (plane - plane.sum() / plane.size) / math.sqrt(((plane - plane.sum() / plane.size) ** 2).sum() / plane.size)
    top, bottom = int(100 * height / 512), int(400 * height / 512)
    left, right = int(100 * width / 512), int(400 * width / 512)
    mean = plane[top:bottom, left:right].mean()
    low, high = plane.min(), plane.max()
    plane[plane == high] = mean
    plane[plane == low] = mean
    threshold = sum(two_means_by_all_cuts(plane[top:bottom, left:right])) / 2
    dark = plane < threshold
    air = np.pad(dark | (hu == hu.min()), 1, constant_values=True)  # a rim of air beyond the slice joins all outside
    joined = ndimage.binary_propagation(np.pad(np.zeros_like(dark), 1, constant_values=True), mask=air)[1:-1, 1:-1]
    numbers, _ = ndimage.label(dilate_by_loops(erode_by_loops(dark)), np.ones((3, 3)))
    kept = np.zeros(hu.shape, dtype=bool)
    for number, (rows, columns) in enumerate(ndimage.find_objects(numbers), start=1):
        small = (rows.stop - rows.start) / height < 475 / 512 and (columns.stop - columns.start) / width < 475 / 512
        central = rows.start / height > 40 / 512 and rows.stop / height < 472 / 512
        part = (numbers == number) & dark
        if small and central and (part & ~joined).sum() > (part & joined).sum():
            kept[numbers == number] = True
    return SlowLungs(plane, threshold, dilate_by_loops(kept, mirrored=mirrored))


def centred_square(mask: NDArray[np.bool_]) -> tuple[int, int, int]:
    """Top, left and side of the square that holds the mask, as central as the slice lets it be (no larger than it)."""
    rows = [y for y in range(mask.shape[0]) if any(mask[y])]
    columns = [x for x in range(mask.shape[1]) if any(mask[:, x])]
    side = max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1
    corner = []
    for indices, size in ((rows, mask.shape[0]), (columns, mask.shape[1])):
        wanted = math.floor((indices[0] + indices[-1] + 1 - side) / 2)
        corner.append(sorted((0, wanted, size - side))[1])
    return corner[0], corner[1], side


def renormalised(hu: NDArray[np.int16], mask: NDArray[np.bool_], of: list[float]) -> NDArray[np.float64]:
    """Slice in units of the deviation of the values `of`, everything outside the mask 1.2 of them below their mean."""
    mean = math.fsum(of) / len(of)
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in of) / len(of))
    clipped = np.clip(hu.astype(np.float64), -1000.0, 400.0)
    return np.where(mask, (clipped - mean) / deviation, -1.2)


def enlarge(cut: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Linear interpolation at the centres of the new pixels; the slice is mirrored about its outermost pixels."""
    side = len(cut)
    assert size >= side, "this does not smooth, so it must not shrink"
    places = (np.arange(size) + 0.5) * side / size - 0.5
    below = np.floor(places).astype(int)
    weight = places - below

    def mirrored(indices: NDArray[np.int64]) -> NDArray[np.int64]:
        indices = np.abs(indices)
        return np.where(indices > side - 1, 2 * (side - 1) - indices, indices)

    lower, upper = mirrored(below), mirrored(below + 1)
    rows = cut[lower] * (1 - weight)[:, None] + cut[upper] * weight[:, None]
    return rows[:, lower] * (1 - weight) + rows[:, upper] * weight


def nearest(cut: NDArray[np.bool_], size: int) -> NDArray[np.float64]:
    """Value of the pixel in which the centre of each new pixel lies."""
    places = np.floor((np.arange(size) + 0.5) * len(cut) / size).astype(int)
    return cut[np.ix_(places, places)].astype(np.float64)


def nine_features(masks: NDArray[np.bool_], pixel_mm: float) -> list[float]:
    """Each part in space measured where its cross-section is largest (the upper one of equals)."""
    largest: dict[int, NDArray[np.int64]] = {}
    numbers = np.zeros(masks.shape, dtype=int)
    for number, part in enumerate(flood(masks), start=1):
        numbers[tuple(part.T)] = number
    for z, plane in enumerate(masks):
        for section in flood(plane):
            number = int(numbers[(z, *section[0])])
            if number not in largest or len(section) > len(largest[number]):
                largest[number] = section
    rows = [_section(section, pixel_mm) for section in largest.values() if len(section) <= masks[0].size / 10]
    if not rows:
        return [0.0] * 9
    area, eccentricity, diameter, y, x = (list(column) for column in zip(*rows, strict=True))
    total, count = sum(area), len(rows)
    mean_diameter = sum(diameter) / count
    return [
        total / count,
        max(area),
        sum(eccentricity) / count,
        mean_diameter,
        math.sqrt(sum((value - mean_diameter) ** 2 for value in diameter) / count),
        sum(value * weight for value, weight in zip(x, area, strict=True)) / total,
        sum(value * weight for value, weight in zip(y, area, strict=True)) / total,
        count,
        count / len(masks),
    ]


def _section(pixels: NDArray[np.int64], pixel_mm: float) -> tuple[float, ...]:
    """Area, eccentricity of the ellipse with the same second moments, diameter of the circle, centre."""
    y, x = pixels.mean(axis=0)
    away = pixels - (y, x)
    yy, xx, xy = (float((away[:, i] * away[:, j]).mean()) for i, j in ((0, 0), (1, 1), (0, 1)))
    spread = math.hypot(yy - xx, 2 * xy)
    long, short = (yy + xx + spread) / 2, (yy + xx - spread) / 2
    eccentricity = math.sqrt(max(0.0, 1 - max(0.0, short) / long)) if long > 0 else 0.0
    area = len(pixels) * pixel_mm**2
    return area, eccentricity, 2 * math.sqrt(area / math.pi), y * pixel_mm, x * pixel_mm
