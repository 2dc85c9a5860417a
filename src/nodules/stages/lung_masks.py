"""DVC stage: the lungs of one LUNA16 subset."""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import Any

import numpy as np

from nodules import parallel, params, tracking
from nodules.imaging.lung_mask import LungMaskParams, lung_measures, segment_lungs
from nodules.scans.luna import series_files
from nodules.scans.volume_files import read_volume, write_volume
from nodules.stages.settings import RunParams


def main(luna_root: Path, subset: int, output: Path) -> None:
    """Write one label map a scan, on the scan's own grid."""
    run = params.load("run", RunParams)
    settings = params.load("lung_mask", LungMaskParams)
    files = series_files(luna_root, subset)
    with tracking.stage_run(f"lung_masks@{subset}", settings, [luna_root / f"subset{subset}"]) as stage:
        rows = parallel.map_scans(
            functools.partial(segment_file, settings=settings),
            files,
            stage=f"lung_masks-{subset}",
            settings=settings,
            output=output,
            max_failures=run.max_failures,
        )
        litres = [row["volume_right_l"] + row["volume_left_l"] for row in rows]
        stage.log_metrics(
            {
                "lung_volume_median_l": float(np.median(litres)),
                "scans_without_lungs": float(sum(not row["lungs_found"] for row in rows)),
            }
        )


def segment_file(file: Path, folder: Path, *, settings: LungMaskParams) -> dict[str, Any]:
    """Segment one scan."""
    volume = read_volume(file)
    labels = segment_lungs(volume, settings)
    write_volume(volume.with_voxels(labels), folder / f"{file.stem}.mha")
    return {"scan": file.stem, **lung_measures(volume, labels)}


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
