"""Recipes of the ablation, and the defects that affect each of its steps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace

from nodules.tutorial.learning.settings import (
    TutorialClassifierDefects,
    TutorialClassifierParams,
    TutorialUnetDefects,
    TutorialUnetParams,
)
from nodules.tutorial.steps.defects import TutorialDefects
from nodules.tutorial.steps.settings import TutorialParams

Defects = frozenset[str]

LUNGS = frozenset(
    {
        "grey_values_wrap_at_16_bit",
        "any_dark_half_is_lung",
        "air_outside_taken_for_lung",
        "masks_shifted_by_even_footprints",
    }
)
IMAGES = LUNGS | {
    "background_from_darkest_voxel",
    "each_slice_its_own_grey_scale",
    "each_slice_its_own_square",
    "crop_down_right",
    "slices_without_lungs_dropped",
}
SLICES = IMAGES | {
    "edge_slices_repeated",
    "other_nodules_are_background",
    "diameter_taken_for_radius",
    "pixel_indices_truncated",
    "direction_ignored",
    "node_mask_divided_by_255",
}
NETWORK = SLICES | {
    "split_by_slice",
    "selected_on_training_loss",
    "positive_slices_only",
    "dice_flattened_over_batch",
    "dice_without_cross_entropy",
}
ANSWERS = NETWORK | {"test_images_not_standardised"}
FEATURES = ANSWERS | {
    "regions_inverted",
    "regions_counted_in_every_slice",
    "features_in_resized_pixels",
    "x_and_y_swapped",
}
TABLES = FEATURES | {"log_loss_of_hard_labels", "folds_unshuffled"}
READS = {
    "lungs": LUNGS,
    "images": IMAGES,
    "slices": SLICES,
    "network": NETWORK,
    "answers": ANSWERS,
    "features": FEATURES,
    "tables": TABLES,
}
"""Defects that affect each step: its own, and those of the steps before it."""

AS_PUBLISHED, TUTORIAL = "as_published", "tutorial"
REPAIRED, CUMULATIVE, BY_ITSELF, HEADLINE = "repaired", "cumulative", "by_itself", "headline"


@dataclass(frozen=True)
class Recipe:
    """One row of a table.

    Attributes
    ----------
    table : str
        `HEADLINE`, `REPAIRED` (all defects but one), `CUMULATIVE` (one more repaired in each row) or `BY_ITSELF` (one
        defect).
    changed : str
        The defect in which the recipe differs from the table's first row; in `CUMULATIVE`, from the row above. Empty in
        `HEADLINE`.
    defects : frozenset of str
        Defects that are switched on.
    """

    table: str
    changed: str
    defects: Defects

    @property
    def name(self) -> str:
        """Unique name among all recipes."""
        if not self.changed:
            return TUTORIAL if not self.defects else AS_PUBLISHED
        return f"{self.table}.{self.changed}"


def key(step: str, defects: Defects) -> str:
    """Name of a step's result: the defects that affect the step, in a fixed order. Equal names share a result."""
    return "+".join(sorted(defects & READS[step])) or "none"


def recipes(order: Sequence[str]) -> list[Recipe]:
    """All recipes of the ablation.

    Parameters
    ----------
    order : sequence of str
        Every defect once, in the order in which they are repaired.

    Raises
    ------
    ValueError
        If a defect is missing, unknown or named twice.
    """
    if sorted(order) != sorted(TABLES):
        strange = sorted(set(order) ^ TABLES) or sorted({name for name in order if order.count(name) > 1})
        raise ValueError(f"the order must name each of {len(TABLES)} defects once, got these wrong: {strange}")
    return [
        Recipe(HEADLINE, "", TABLES),
        *(Recipe(REPAIRED, name, TABLES - {name}) for name in order),
        *(Recipe(CUMULATIVE, name, frozenset(order[place:])) for place, name in enumerate(order, start=1)),
        *(Recipe(BY_ITSELF, name, frozenset({name})) for name in order),
        Recipe(HEADLINE, "", frozenset()),
    ]


def named(chosen: Iterable[Recipe], only: Sequence[str]) -> Iterator[Recipe]:
    """Recipes of the given tables or names; all recipes if none is given."""
    return (recipe for recipe in chosen if not only or recipe.table in only or recipe.name in only)


@dataclass(frozen=True)
class Settings:
    """Settings of the ablation: the recipe without defects, at the ablation's size.

    Attributes
    ----------
    steps, unet, classifiers
        As in the section `tutorial` of params.yaml. The number of epochs follows from `training_steps`.
    training_steps : int
        Batches that every network is trained on, whatever number of slices its recipe leaves.
    order : list of str
        All defects, in the order in which they are repaired.
    tables : dict of str to list of str
        Tables or names of recipes to measure on "phantoms" and on "real" slices. The headline is always measured.
    folds, headline_folds : int
        Number of the five folds of real slices to test on, from the first. All recipes share `folds`, which keeps them
        comparable. The headline is tested on more; its first folds give the first row of each table.
    seed : int
        Seed of patients, slices and weights.
    """

    steps: TutorialParams
    unet: TutorialUnetParams
    classifiers: TutorialClassifierParams
    training_steps: int
    order: list[str]
    tables: dict[str, list[str]]
    folds: int
    headline_folds: int
    seed: int

    def measured_on(self, data: str, chosen: Iterable[Recipe]) -> list[Recipe]:
        """Recipes to measure on a data set, "phantoms" or "real"."""
        return list(named(chosen, [HEADLINE, *self.tables[data]]))

    def measured(self, chosen: Sequence[Recipe]) -> list[Recipe]:
        """Recipes to measure on any data set."""
        wanted = [self.measured_on(data, chosen) for data in self.tables]
        return [recipe for recipe in chosen if any(recipe in some for some in wanted)]

    def folds_of(self, table: str) -> int:
        """Number of folds of real slices that test the recipes of a table."""
        return self.headline_folds if table == HEADLINE else self.folds

    def steps_of(self, defects: Defects) -> TutorialParams:
        """Settings of the steps, with those of the defects that belong to them."""
        return replace(self.steps, defects=TutorialDefects(**_switches(TutorialDefects, defects)))

    def unet_of(self, defects: Defects, slices: int) -> TutorialUnetParams:
        """Settings of the U-Net for a number of training slices."""
        epochs = max(1, round(self.training_steps * self.unet.batch_size / max(1, slices)))
        switches = TutorialUnetDefects(**_switches(TutorialUnetDefects, defects))
        return replace(self.unet, epochs=epochs, defects=switches)

    def classifiers_of(self, defects: Defects) -> TutorialClassifierParams:
        """Settings of the classifiers, with those of the defects that belong to them."""
        switches = TutorialClassifierDefects(**_switches(TutorialClassifierDefects, defects))
        return replace(self.classifiers, defects=switches)


def _switches(of: type, defects: Defects) -> dict[str, bool]:
    return {field.name: field.name in defects for field in fields(of)}
