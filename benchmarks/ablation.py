"""Ablation of the tutorial's defects on phantoms and on real slices: one defect more or less in each recipe.

Run it after `make repro` as `make ablation`, or `python benchmarks/ablation.py --out OUT [--data DATA/luna16_slices]`.
Slices, networks, predictions and features are kept in OUT, so an interrupted run resumes. Recipes share the result of a
step if they agree in all defects that affect it. Every recipe becomes a run of the MLflow experiment
`lung-cancer-ablation`. `--only cumulative` measures one table; a recipe's name measures one recipe. `--plan` prints
what remains to do.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

import ablation_networks
import ablation_patients
import ablation_scans
from ablation_recipes import (
    HEADLINE,
    IMAGES,
    SLICES,
    TUTORIAL,
    Defects,
    Recipe,
    Settings,
    key,
    named,
    recipes,
)
from ablation_report import ALL_FOLDS, Measured, report, track
from ablation_scans import Source
from ablation_tables import UNWEIGHTED, summary
from nodules import params

SETTINGS, PHANTOMS = Path(__file__).with_name("ablation.yaml"), Path("data/phantoms")
ONE_THREAD = (
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
)


@dataclass(frozen=True)
class Work:
    """Inputs and settings of all steps.

    Attributes
    ----------
    settings : Settings
        Settings from `ablation.yaml`.
    recipes : list of Recipe
        Recipes to measure.
    phantoms : Path
        Folder of the phantoms, with luna16 and dsb.
    real : Path or None
        Folder of the real slices.
    out : Path
        Folder of the results.
    processes : int
        Number of parallel processes.
    """

    settings: Settings
    recipes: list[Recipe]
    phantoms: Path
    real: Path | None
    out: Path
    processes: int

    def sources(self) -> dict[str, list[Source]]:
        """Series of each data set."""
        found = {"phantoms": ablation_scans.phantoms(self.phantoms / "luna16", self.settings.seed)}
        if self.real:
            found["real"] = ablation_scans.real(self.real, self.settings.seed)
        return found

    def measured_on(self, data: str) -> list[Recipe]:
        """Recipes to measure on a data set, "phantoms" or "real"."""
        return self.settings.measured_on(data, self.recipes)

    def tested(self, data: str) -> list[tuple[Defects, int]]:
        """Defects of each recipe and the number of folds to test it on; phantoms have a single split."""
        mine = self.measured_on(data)
        if data == "phantoms":
            return [(recipe.defects, 1) for recipe in mine]
        return [(recipe.defects, self.settings.folds_of(recipe.table)) for recipe in mine]


def main() -> None:
    """Run the steps that are not done yet, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of the real slices; without it, phantoms only")
    parser.add_argument("--phantoms", type=Path, default=PHANTOMS)
    parser.add_argument("--millimetre", type=Path, help="the table millimetre.csv that real_luna.py has written")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", action="append", default=[], help="a table or a recipe; may be repeated")
    parser.add_argument("--settings", type=Path, default=SETTINGS)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--plan", action="store_true", help="count what is to be done, and do nothing")
    parser.add_argument("--no-tracking", action="store_true", help="leave MLflow out")
    arguments = parser.parse_args()
    os.environ.update(dict.fromkeys(ONE_THREAD, "1") | {"TF_CPP_MIN_LOG_LEVEL": "2"})
    settings = params.load("ablation", Settings, arguments.settings)
    everything = settings.measured(recipes(settings.order))
    chosen = list(named(everything, arguments.only))
    if not chosen:
        sys.exit(f"no recipe is called {arguments.only}; there are: {', '.join(sorted({r.name for r in everything}))}")
    work = Work(
        settings, chosen, arguments.phantoms, arguments.data, place(arguments.out, settings), arguments.processes
    )
    if arguments.plan:
        plan(work)
        return
    measured = measure(work)
    report(work.recipes, measured, settings, arguments.millimetre, work.out, complete=len(chosen) == len(everything))
    if not arguments.no_tracking:
        track(work.recipes, measured, settings)


def place(out: Path, settings: Settings) -> Path:
    """Folder of the results for these settings; the networks' own settings are part of their names."""
    told = repr((settings.steps, settings.unet.nodule_free_slices, settings.seed))
    return out / sha256(told.encode()).hexdigest()[:12]


def plan(work: Work) -> None:
    """Print how much there is to do."""
    for step in ("lungs", "images", "slices", "answers", "features"):
        print(f"{step}: {len({key(step, recipe.defects) for recipe in work.recipes})} different of {len(work.recipes)}")
    for data in ("phantoms", "real"):
        networks = {(key("network", defects), fold) for defects, n in work.tested(data) for fold in range(n)}
        print(f"{data}: at most {len(networks)} networks; equal inputs are found when the slices are cut")


def measure(work: Work) -> Measured:
    """Run all steps, and collect the scores of each recipe by data set."""
    measured: Measured = {}
    for data, sources in work.sources().items():
        _cut(work, data, sources)
        mine = work.measured_on(data)
        networks = ablation_networks.jobs(data, sources, work.tested(data), work.settings, work.out)
        _each(work, f"networks, {data}", ablation_networks.run, networks, sources)
        parts = {data: (work.settings.folds, mine)}
        if data == "real":
            parts[ALL_FOLDS] = work.settings.headline_folds, [one for one in mine if one.table == HEADLINE]
        for part, (folds, chosen) in parts.items():
            measured[part] = {recipe.name: _segmented(recipe, networks, work.out, folds) for recipe in chosen}
        if data == "phantoms":
            _classify(work, networks, measured[data])
    return measured


def _cut(work: Work, data: str, sources: Sequence[Source]) -> None:
    wanted = {key("slices", recipe.defects): recipe.defects & SLICES for recipe in work.measured_on(data)}
    missing = [s for s in sources if not _holds(ablation_networks.scan_file(work.out, data, s), wanted, ".0")]
    calls = [
        (source, list(wanted.values()), work.settings, ablation_networks.scan_file(work.out, data, source))
        for source in missing
    ]
    _run(work, f"slices, {data}", ablation_scans.cut, calls, is_real=data == "real")


def _classify(work: Work, networks: Sequence[ablation_networks.Job], told: dict[str, dict[str, float]]) -> None:
    patients = ablation_scans.patients(work.phantoms / "dsb")
    mine = work.measured_on("phantoms")
    wanted = {key("images", recipe.defects): recipe.defects & IMAGES for recipe in mine}
    files = {patient: ablation_patients.patient_file(work.out, patient) for patient in patients}
    calls = [
        (patients[patient], list(wanted.values()), work.settings, file)
        for patient, file in files.items()
        if not _holds(file, wanted, "")
    ]
    _run(work, "slices, patients", ablation_scans.cut_patient, calls)
    asked = ablation_patients.asked(networks, [recipe.defects for recipe in mine])
    _each(work, "patients", ablation_patients.run, asked, list(patients))
    names = {(one.answers, defects): one for one in asked for defects in one.features}
    tables = {key("features", defects): one.table(work.out, defects) for (_, defects), one in names.items()}
    root = work.phantoms / "dsb"
    for recipe in mine:
        file = tables[key("features", recipe.defects)]
        told[recipe.name] |= ablation_patients.classified(file, root, recipe.defects, work.settings)
        if recipe.name == TUTORIAL:
            told[UNWEIGHTED] = told[TUTORIAL] | dict(
                ablation_patients.classified(file, root, recipe.defects, work.settings, weight=1.0)
            )


def _segmented(recipe: Recipe, networks: Iterable[ablation_networks.Job], out: Path, folds: int) -> dict[str, float]:
    """Mean scores of a recipe on the first folds."""
    wanted = key("answers", recipe.defects)
    mine = [
        pd.read_csv(job.scores(out, recipe.defects))
        for job in networks
        if job.fold < folds and any(key("answers", defects) == wanted for defects in job.defects)
    ]
    return summary(pd.concat(mine, ignore_index=True))


def _holds(file: Path, wanted: Iterable[str], ending: str) -> bool:
    if not Path(f"{file}.json").exists():
        return False
    held = ablation_scans.index(file)
    return all(f"{name}{ending}" in held for name in wanted)


def _each(work: Work, what: str, function: Callable[..., None], jobs: Sequence[Any], over: Sequence[Any]) -> None:
    """Run the jobs that are not done yet."""
    _run(work, what, function, [(job, over, work.settings, work.out) for job in jobs if not job.is_done(work.out)])


def _run(work: Work, what: str, function: Callable[..., None], calls: Sequence[tuple[Any, ...]], **more: Any) -> None:
    """Run calls in single-threaded processes, which are replaced after some calls."""
    if not calls:
        return
    with get_context("spawn").Pool(work.processes, maxtasksperchild=12) as workers:
        waiting = [workers.apply_async(function, call, more) for call in calls]
        for done in tqdm(waiting, desc=what, unit="job"):
            done.get()


if __name__ == "__main__":
    main()
