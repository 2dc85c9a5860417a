"""Make synthetic chest CTs (phantoms) in the file layout of LUNA16 or of the Data Science Bowl."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from nodules import parallel, params
from nodules.scans.phantom import cohort
from nodules.scans.phantom.patient import PhantomParams
from nodules.stages.shared import command
from nodules.stages.shared.settings import Layout
from nodules.tracking.stage import stage_run


def main(*, layout: Layout, output: Path) -> None:
    """Write the scans and tables of a synthetic data set to a folder."""
    settings = params.load("phantoms", PhantomParams)
    count = settings.luna_scans if layout == "luna16" else settings.dsb_patients
    with stage_run(f"phantoms@{layout}", settings) as stage:
        rows = parallel.map_scans(
            functools.partial(write_patient, layout=layout, settings=settings),
            {f"{index:05d}": index for index in range(count)},
            stage=f"phantoms-{layout}",
            output=output,
            max_failures=0,
        )
        truth = [row for patient in rows for row in patient["truth"]]
        tables = cohort.luna_tables(truth) if layout == "luna16" else cohort.dsb_tables(truth)
        for name, table in tables.items():
            table.to_csv(output / name, index=False)
        for leftover in ("manifest.csv", "failures.csv"):  # not part of either data set's layout
            (output / leftover).unlink()
        stage.log_metrics({"patients": float(count)})


def write_patient(index: int, folder: Path, *, layout: Layout, settings: PhantomParams) -> dict[str, Any]:
    """Write one scan."""
    write = cohort.write_luna_scan if layout == "luna16" else cohort.write_dsb_patient
    return {"truth": write(index, settings, folder)}


if __name__ == "__main__":
    command.run(main)
