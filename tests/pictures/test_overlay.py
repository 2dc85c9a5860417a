"""Pictures: true proportions, right way round, the same bytes for the same input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from numpy.typing import NDArray

from nodules.imaging.geometry.volume import Volume
from nodules.pictures import overlay
from nodules.pictures.overlay import candidates_sheet, lung_contours, nodule_overlay, save_figure
from support import phantoms

SHAPE, SPACING, ORIGIN = (20, 60, 70), (10.0, 4.5, 4.2), (-100.0, 50.0, 7.0)


@pytest.fixture(scope="module")
def chest() -> tuple[Volume, NDArray[np.uint8]]:
    return phantoms.simple_chest(SHAPE, SPACING, ORIGIN)


def candidates(chest: Volume, indices_zyx: list[tuple[int, int, int]]) -> pd.DataFrame:
    world = chest.voxel_to_world(np.array(indices_zyx, dtype=float).reshape(-1, 3))
    table = pd.DataFrame(world, columns=["x_mm", "y_mm", "z_mm"])
    return table.assign(diameter_mm=np.arange(len(table)) + 8.0, probability=0.9)


def pixels(figure: Figure) -> NDArray[np.float64]:
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba(), dtype=float)[..., :3] / 255  # type: ignore[attr-defined]


def has_colour(figure: Figure, colour: str) -> bool:
    return bool((np.abs(pixels(figure)[:-60] - to_rgb(colour)).max(axis=2) < 0.05).any())  # the legend left out


def titled(figure: Figure, start: str) -> list[Axes]:
    return [panel for panel in figure.axes if panel.get_title().startswith(start)]


class TestLungContours:
    def test_shows_both_kinds_of_slices_with_their_place_in_mm(self, chest: tuple[Volume, NDArray[np.uint8]]) -> None:
        figure = lung_contours(*chest, axial=3, coronal=2)
        assert len(titled(figure, "axial, z = ")) == 3
        assert len(titled(figure, "coronal, y = ")) == 2
        lung_z_mm = chest[0].voxel_to_world([[z, 0, 0] for z in np.unique(np.nonzero(chest[1])[0])])[:, 2]
        shown_mm = [float(panel.get_title().split()[3]) for panel in titled(figure, "axial")]
        assert lung_z_mm.min() - 20 <= min(shown_mm) < max(shown_mm) <= lung_z_mm.max() + 20

    def test_proportions_are_those_of_the_patient(self, chest: tuple[Volume, NDArray[np.uint8]]) -> None:
        figure = lung_contours(*chest)
        sizes_mm = {"axial": (60 * 4.5, 70 * 4.2), "coronal": (20 * 10.0, 70 * 4.2)}
        for panel in figure.axes:
            height_mm, width_mm = sizes_mm[panel.get_title().split(",")[0]]
            left, right, bottom, top = panel.images[0].get_extent()
            assert (right - left, abs(bottom - top)) == pytest.approx((width_mm, height_mm))
            assert panel.get_aspect() == 1.0

    def test_head_up_back_down_and_right_on_the_left(self, chest: tuple[Volume, NDArray[np.uint8]]) -> None:
        figure = lung_contours(*chest, axial=1, coronal=1)
        axial, coronal = figure.axes
        assert axial.get_ylim()[0] > axial.get_ylim()[1]
        assert coronal.get_ylim()[0] < coronal.get_ylim()[1]
        for panel in figure.axes:
            assert panel.get_xlim()[0] < panel.get_xlim()[1]
            right, left = (
                np.concatenate([path.vertices for path in lines.get_paths()])[:, 0].mean()
                for lines in panel.collections
            )
            assert right < left

    def test_outlines_pass_between_lung_and_wall(self) -> None:
        labels = np.zeros((3, 8, 9), dtype=np.uint8)
        labels[:, 2:5, 4:8] = 1
        figure = lung_contours(Volume(np.zeros((3, 8, 9), np.int16), (5.0, 2.0, 3.0)), labels, axial=1, coronal=0)
        vertices = np.concatenate([path.vertices for path in figure.axes[0].collections[0].get_paths()])
        assert vertices.min(axis=0) == pytest.approx([12.0, 4.0])
        assert vertices.max(axis=0) == pytest.approx([24.0, 10.0])

    def test_no_lungs_no_outlines(self, chest: tuple[Volume, NDArray[np.uint8]]) -> None:
        figure = lung_contours(chest[0], np.zeros_like(chest[1]))
        assert not any(panel.collections for panel in figure.axes)
        assert not has_colour(figure, overlay.SIDE_COLOURS[1])

    def test_a_single_slice_is_enough(self, chest: tuple[Volume, NDArray[np.uint8]]) -> None:
        box = (slice(10, 11), slice(0, 60), slice(0, 70))
        figure = lung_contours(chest[0].crop(box), chest[1][box])
        assert len(titled(figure, "axial")) == 1


class TestNoduleOverlay:
    def test_draws_each_mask_in_its_colour(self) -> None:
        slices = np.full((2, 30, 40), -800)
        reference, predicted = np.zeros((2, 2, 30, 40))
        reference[0, 5:12, 5:12] = predicted[1, 15:25, 20:30] = 1
        figure = nodule_overlay(slices, reference, predicted, (0.7, 0.6), ["first", "second"])
        assert [panel.get_title() for panel in figure.axes] == ["first", "second"]
        assert [len(panel.collections) for panel in figure.axes] == [1, 1]
        assert has_colour(figure, overlay.REFERENCE_COLOUR)
        assert has_colour(figure, overlay.PREDICTED_COLOUR)

    def test_no_slices_are_an_empty_picture(self) -> None:
        nothing = np.zeros((0, 5, 6))
        assert not nodule_overlay(nothing, nothing, nothing, (1.0, 1.0)).axes

    def test_different_shapes_are_refused(self) -> None:
        with pytest.raises(ValueError, match=r"the same shape, got \(1, 5, 6\), \(1, 5, 7\)"):
            nodule_overlay(np.zeros((1, 5, 6)), np.zeros((1, 5, 7)), np.zeros((1, 5, 6)), (1.0, 1.0))

    def test_a_missing_title_is_refused(self) -> None:
        with pytest.raises(ValueError, match="each of 2 slices, got 1 titles"):
            nodule_overlay(*np.zeros((3, 2, 5, 6)), (1.0, 1.0), ["one"])


class TestCandidatesSheet:
    def test_circles_the_first_candidates(self, chest: tuple[Volume, NDArray[np.uint8]]) -> None:
        table = candidates(chest[0], [(8, 20, 30), (12, 25, 50), (3, 30, 40)])
        figure = candidates_sheet(*chest, table, largest_count=2)
        assert len(figure.axes) == 3
        circle = next(patch for patch in figure.axes[2].patches if isinstance(patch, Circle))
        assert circle.center == pytest.approx((50.5 * 4.2, 25.5 * 4.5))
        assert circle.radius == pytest.approx(9.0 / 2 + overlay.RING_MM)
        assert "p = 0.90, 9.0 mm" in figure.axes[2].get_title()
        overview = [patch.center for patch in figure.axes[0].patches if isinstance(patch, Circle)]
        assert np.array(overview) == pytest.approx(np.array([(30.5 * 4.2, 85.0), (50.5 * 4.2, 125.0)]))

    def test_malignancy_stands_below_what_else_is_known(self, chest: tuple[Volume, NDArray[np.uint8]]) -> None:
        table = candidates(chest[0], [(8, 20, 30), (12, 25, 50)])
        plain = candidates_sheet(*chest, table)
        unrated = [panel.get_title() for panel in plain.axes[1:]]
        rated = candidates_sheet(*chest, table.assign(malignancy=[0.834, np.nan]))
        notes = [figure.legends[0].get_title().get_text() for figure in (plain, rated)]
        assert [overlay.MALIGNANCY_NOTE in note for note in notes] == [False, True]
        assert [panel.get_title() for panel in rated.axes[1:]] == [f"{unrated[0]}\nmalignancy 0.83", unrated[1]]

    def test_no_candidates_leave_the_overview(self, chest: tuple[Volume, NDArray[np.uint8]]) -> None:
        figure = candidates_sheet(*chest, candidates(chest[0], []))
        assert [panel.get_title()[:7] for panel in figure.axes] == ["coronal"]

    def test_neither_lungs_nor_candidates(self, chest: tuple[Volume, NDArray[np.uint8]]) -> None:
        assert candidates_sheet(chest[0], np.zeros_like(chest[1]), candidates(chest[0], [])).axes

    def test_a_candidate_at_the_edge_of_the_scan(self, chest: tuple[Volume, NDArray[np.uint8]]) -> None:
        assert pixels(candidates_sheet(*chest, candidates(chest[0], [(0, 0, 0)]))).size


class TestSaveFigure:
    def test_the_same_input_gives_the_same_bytes(self, chest: tuple[Volume, NDArray[np.uint8]], tmp_path: Path) -> None:
        for name in ("first.png", "second.png"):
            save_figure(lung_contours(*chest, axial=2, coronal=1), tmp_path / name)
        first, second = ((tmp_path / name).read_bytes() for name in ("first.png", "second.png"))
        assert first == second
        assert first.startswith(b"\x89PNG")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["first.png", "second.png"]

    def test_a_failed_write_leaves_the_old_picture(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "picture.png"
        path.write_bytes(b"old")
        figure = nodule_overlay(*np.zeros((3, 1, 5, 6)), (1.0, 1.0))

        def fail(target: Path, **_: object) -> None:
            target.write_bytes(b"half")
            raise OSError("disk full")

        monkeypatch.setattr(figure, "savefig", fail)
        with pytest.raises(OSError, match="disk full"):
            save_figure(figure, path)
        assert [(found.name, found.read_bytes()) for found in tmp_path.iterdir()] == [("picture.png", b"old")]
