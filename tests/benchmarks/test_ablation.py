from __future__ import annotations

import math
from dataclasses import fields, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import ablation_networks
import ablation_recipes
import ablation_scans
import ablation_tables
from ablation_recipes import BY_ITSELF, CUMULATIVE, REPAIRED, TABLES, Recipe, Settings, key, recipes
from ablation_scans import Kept, Preparations, Source
from nodules import params
from nodules.tutorial.learning.settings import TutorialClassifierDefects, TutorialUnetDefects
from nodules.tutorial.steps.defects import TutorialDefects
from nodules.tutorial.steps.prepared_scan import prepare
from support.tutorial_slices import chest, chest_slice

SHIPPED = Path(ablation_recipes.__file__).with_name("ablation.yaml")
NONE: frozenset[str] = frozenset()


@pytest.fixture(scope="module")
def settings() -> Settings:
    return params.load("ablation", Settings, SHIPPED)


def test_every_switch_of_the_package_is_in_the_ablation() -> None:
    switches = {f.name for of in (TutorialDefects, TutorialUnetDefects, TutorialClassifierDefects) for f in fields(of)}

    assert switches == TABLES


def test_each_step_reads_what_its_input_depends_on() -> None:
    steps = list(ablation_recipes.READS.values())

    assert all(before < after for before, after in pairwise(steps))


@pytest.mark.parametrize(
    ("defect", "reached"),
    [
        ("air_outside_taken_for_lung", {"lungs", "images", "slices", "network", "answers", "features", "tables"}),
        ("crop_down_right", {"images", "slices", "network", "answers", "features", "tables"}),
        ("diameter_taken_for_radius", {"slices", "network", "answers", "features", "tables"}),
        ("dice_flattened_over_batch", {"network", "answers", "features", "tables"}),
        ("dice_without_cross_entropy", {"network", "answers", "features", "tables"}),
        ("test_images_not_standardised", {"answers", "features", "tables"}),
        ("x_and_y_swapped", {"features", "tables"}),
        ("log_loss_of_hard_labels", {"tables"}),
    ],
)
def test_a_defect_changes_the_results_of_the_steps_that_read_it_alone(defect: str, reached: set[str]) -> None:
    changed = {step for step in ablation_recipes.READS if key(step, frozenset({defect})) != key(step, NONE)}

    assert changed == reached


def test_the_cumulative_repair_takes_one_defect_after_another_from_as_published_to_none(settings: Settings) -> None:
    everything = recipes(settings.order)
    mine = [recipe for recipe in everything if recipe.table == CUMULATIVE]
    left = [recipe.defects for recipe in mine]

    assert everything[0].defects == TABLES and everything[0].name == "as_published"
    assert [recipe.changed for recipe in mine] == settings.order
    assert [before - after for before, after in pairwise([TABLES, *left])] == [{name} for name in settings.order]
    assert left[-1] == NONE


def test_each_defect_is_once_alone_and_once_repaired_alone(settings: Settings) -> None:
    everything = recipes(settings.order)

    assert {recipe.changed: recipe.defects for recipe in everything if recipe.table == REPAIRED} == {
        name: TABLES - {name} for name in TABLES
    }
    assert {recipe.changed: recipe.defects for recipe in everything if recipe.table == BY_ITSELF} == {
        name: {name} for name in TABLES
    }
    assert len(TABLES) == 27
    assert len({recipe.name for recipe in everything}) == len(everything) == 3 * 27 + 2


def test_the_order_must_name_every_defect_once(settings: Settings) -> None:
    with pytest.raises(ValueError, match="crop_down_right"):
        recipes([name for name in settings.order if name != "crop_down_right"])
    with pytest.raises(ValueError, match="crop_down_right"):
        recipes([*settings.order, "crop_down_right"])
    with pytest.raises(ValueError, match="no_such_defect"):
        recipes([*settings.order, "no_such_defect"])


def test_what_a_data_set_is_to_measure_exists(settings: Settings) -> None:
    everything = recipes(settings.order)
    known = {recipe.table for recipe in everything} | {recipe.name for recipe in everything}

    assert set(settings.tables) == {"phantoms", "real"}
    assert {name for wanted in settings.tables.values() for name in wanted} <= known


def test_each_data_set_has_its_tables_and_the_headline(settings: Settings) -> None:
    own = replace(settings, tables={"phantoms": [BY_ITSELF, REPAIRED], "real": [f"{BY_ITSELF}.split_by_slice"]})
    everything = recipes(own.order)

    real = own.measured_on("real", everything)

    assert {recipe.table for recipe in own.measured_on("phantoms", everything)} == {"headline", BY_ITSELF, REPAIRED}
    assert own.measured(everything) == own.measured_on("phantoms", everything)  # which has all of the other
    assert [recipe.name for recipe in real] == ["as_published", "by_itself.split_by_slice", "tutorial"]


def test_defects_reach_the_settings_that_they_belong_to(settings: Settings) -> None:
    on = frozenset({"crop_down_right", "split_by_slice", "folds_unshuffled"})

    assert settings.steps_of(on).defects == TutorialDefects(crop_down_right=True)
    assert settings.unet_of(on, 10).defects == TutorialUnetDefects(split_by_slice=True)
    assert settings.classifiers_of(on).defects == TutorialClassifierDefects(folds_unshuffled=True)


def test_every_network_learns_from_about_as_many_batches(settings: Settings) -> None:
    wanted = settings.training_steps
    batch = settings.unet.batch_size

    assert settings.unet_of(NONE, wanted * batch).epochs == 1
    assert settings.unet_of(NONE, wanted * batch // 10).epochs == 10
    assert settings.unet_of(NONE, 10 * wanted * batch).epochs == 1


@pytest.mark.parametrize(
    "on",
    [
        [],
        ["grey_values_wrap_at_16_bit"],
        ["any_dark_half_is_lung"],
        ["masks_shifted_by_even_footprints", "crop_down_right"],
        ["each_slice_its_own_square", "slices_without_lungs_dropped"],
        ["each_slice_its_own_grey_scale", "background_from_darkest_voxel"],
    ],
)
def test_what_is_prepared_for_many_recipes_is_what_each_would_prepare(settings: Settings, on: list[str]) -> None:
    scan = chest(chest_slice(), chest_slice(seed=1, scale=0.8), chest_slice(scale=0.0))
    preparations = Preparations(scan, settings)
    preparations(NONE)  # lungs of another recipe are there already
    defects = frozenset(on) | {"diameter_taken_for_radius"}

    thrifty, plain = preparations(defects), prepare(scan, settings.steps_of(defects))

    assert thrifty.params == plain.params
    assert thrifty.kept == plain.kept
    for z in plain.kept:
        np.testing.assert_array_equal(thrifty.image(z), plain.image(z))


def test_equal_arrays_are_stored_once_and_found_by_each_recipe(tmp_path: Path) -> None:
    kept, one, other = Kept(), np.arange(1000.0), np.ones(1000)
    kept.add("a", {"images": one})
    kept.add("b", {"images": one.copy()})
    kept.add("c", {"images": other})
    kept.save(tmp_path / "scan")

    told = ablation_scans.index(tmp_path / "scan")
    assert told["a"] == told["b"] != told["c"]
    assert (tmp_path / "scan.npz").stat().st_size < 2 * one.nbytes + 2000
    np.testing.assert_array_equal(ablation_scans.arrays(tmp_path / "scan", "b")["images"], one)


def _stored(tmp_path: Path, turned: bool, data: str = "phantoms") -> list[Source]:
    """Two scans whose images depend on `direction_ignored` only if their axes are turned."""
    sources = [Source("first", Path("first.mhd"), "train"), Source("second", Path("second.mhd"), "test")]
    for source in sources:
        kept = Kept()
        kept.add("truth.0", {"z": np.array([1])})
        for defect in ("none", "direction_ignored", "crop_down_right"):
            moved = {"crop_down_right": 1.0, "direction_ignored": 2.0 if turned else 0.0}.get(defect, 0.0)
            z = np.array([1, 2])
            learnt = {"z": z, "images": np.full((2, 4, 4), moved), "masks": np.zeros((2, 4, 4))}
            kept.add(f"{defect}.0", learnt | {"positive": np.array([True, True]), "positive_z": z})
        kept.save(ablation_networks.scan_file(tmp_path, data, source))
    return sources


@pytest.mark.parametrize(("turned", "networks"), [(False, 2), (True, 3)])
def test_equal_inputs_are_trained_once(tmp_path: Path, settings: Settings, turned: bool, networks: int) -> None:
    sources = _stored(tmp_path, turned)
    names = ("direction_ignored", "crop_down_right", "test_images_not_standardised", "x_and_y_swapped")
    wanted = [NONE, *(frozenset({name}) for name in names)]

    jobs = ablation_networks.jobs("phantoms", sources, [(one, 1) for one in wanted], settings, tmp_path)

    assert len(jobs) == networks
    judged = {key("answers", defects) for job in jobs for defects in job.defects}
    assert judged == {"none", "direction_ignored", "crop_down_right", "test_images_not_standardised"}


def test_a_mistake_of_training_is_a_network_of_its_own_unless_it_has_nothing_to_change(
    tmp_path: Path, settings: Settings
) -> None:
    sources = _stored(tmp_path, turned=False)
    wanted = [NONE, frozenset({"positive_slices_only"}), frozenset({"dice_flattened_over_batch"})]

    jobs = ablation_networks.jobs("phantoms", sources, [(one, 1) for one in wanted], settings, tmp_path)

    assert sorted(len(job.defects) for job in jobs) == [1, 2]  # no slice is free of nodules: the first two are equal


def test_each_fold_is_a_network_of_its_own(tmp_path: Path, settings: Settings) -> None:
    sources = _stored(tmp_path, turned=False, data="real")

    wanted = [(NONE, 3), (frozenset({"x_and_y_swapped"}), 2), (frozenset({"crop_down_right"}), 1)]
    jobs = ablation_networks.jobs("real", sources, wanted, settings, tmp_path)

    assert [(job.fold, job.defects[0]) for job in jobs] == [
        (0, NONE),
        (1, NONE),
        (2, NONE),
        (0, frozenset({"crop_down_right"})),
    ]


def test_the_headline_may_be_tested_on_more_folds(settings: Settings) -> None:
    own = replace(settings, folds=2, headline_folds=4)

    assert [own.folds_of(table) for table in (CUMULATIVE, BY_ITSELF, "headline")] == [2, 2, 4]


def test_soft_dice_of_the_page() -> None:
    masks = np.zeros((2, 4, 4), dtype=np.float32)
    masks[0, 0, :3] = 1
    answers = np.zeros((2, 4, 4), dtype=np.float32)
    answers[0, 0, 0] = 0.5

    # (2 * 0.5 + 1) / (3 + 0.5 + 1), and 1 / 1 of the empty slice
    assert ablation_networks.mean_soft_dice(masks, answers) == pytest.approx((2 / 4.5 + 1) / 2)


def test_summary_counts_slices_with_and_without_a_nodule() -> None:
    scores = pd.DataFrame(
        {
            "dice": [0.8, 0.0, np.nan],
            "hit": [1.0, 0.0, np.nan],
            "nodule_dice": [0.9, 0.0, np.nan],
            "false_positives": [0.0, 1.0, 2.0],
            "own_dice": [0.2, 0.2, 0.4],
            "fold": [0, 0, 1],
        }
    )

    assert ablation_tables.summary(scores) == pytest.approx(
        {"dice": 0.4, "hit": 0.5, "dice_of_hits": 0.9, "false_positives": 1.0, "own_dice": 0.3}
    )


def test_tables_name_what_was_changed_and_leave_out_what_was_not_measured() -> None:
    chosen = [Recipe(BY_ITSELF, "x_and_y_swapped", frozenset({"x_and_y_swapped"})), Recipe(BY_ITSELF, "other", NONE)]
    numbers = {"tutorial": {"dice": 0.5}, "by_itself.x_and_y_swapped": {"dice": math.nan}}

    assert ablation_tables.table(BY_ITSELF, chosen, numbers, {"dice": "Dice"}).splitlines() == [
        "|  | Dice |",
        "| --- | ---: |",
        "| tutorial | 0.500 |",
        "| with `x_and_y_swapped` | - |",
    ]


def test_the_short_table_has_the_dearest_mistakes() -> None:
    numbers = {
        "as_published": {"dice": 0.0},
        "tutorial": {"dice": 0.5},
        "millimetre": {"dice": 0.6},
        "by_itself.cheap": {"dice": 0.49},
        "by_itself.dear": {"dice": 0.1},
    }

    names = [line.split(" | ")[0] for line in ablation_tables.short(numbers, {"dice": "Dice"}, costs=1).splitlines()]
    assert names[2:] == ["| millimetre", "| tutorial", "| tutorial with `dear`", "| as published"]


def test_a_part_of_a_page_is_replaced_and_the_prose_stays(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("Before.\n<!-- costs -->\nold\n<!-- end of costs -->\nAfter.\n")

    ablation_tables.replace_part(page, "costs", r"new \1")
    ablation_tables.replace_part(page, "costs", r"new \1")

    assert page.read_text() == "Before.\n<!-- costs -->\n\nnew \\1\n\n<!-- end of costs -->\nAfter.\n"
    with pytest.raises(ValueError, match="<!-- other -->"):
        ablation_tables.replace_part(page, "other", "")


def test_the_chart_shows_the_repair_from_top_to_bottom() -> None:
    chosen = [Recipe(CUMULATIVE, "first_one", NONE), Recipe(CUMULATIVE, "second_one", NONE)]
    numbers = {"as_published": {"dice": 0.0, "hit": 0.0}, "cumulative.first_one": {"dice": 0.2, "hit": 0.4}}

    axes = ablation_tables.chart(chosen, numbers).axes[0]

    assert [label.get_text() for label in axes.get_yticklabels()] == ["as published", "- first one"]
    assert axes.yaxis_inverted()
    assert {tuple(line.get_xdata()) for line in axes.lines} == {(0.0, 0.4), (0.0, 0.2)}
