"""Segmentation of one scan file with the trained U-Net, for the stages segment_luna and segment_dsb."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nodules.imaging.lungs.segment import LungMaskParams, find_lungs
from nodules.parallel import load_once
from nodules.scans.read import read_scan
from nodules.scans.result import ReadingParams, verdict_of
from nodules.scans.stores import segmentations
from nodules.scans.volume_files.reader import read_mask


def segment_scan_file(
    item: tuple[str, Path, Path | None],
    folder: Path,
    *,
    segmenter: Path,
    reading: ReadingParams,
    lung_mask: LungMaskParams,
) -> dict[str, Any]:
    """Read a scan, segment its lungs unless a file holds them, and write the segmentation to `folder/<id>/`."""
    # TensorFlow loads in the workers, not in the process that hands out work.
    from nodules.models.unet.segmenter import Segmenter, segment_region

    scan_id, path, lungs_file = item
    read = read_scan(path, reading)
    findings: tuple[str, ...] = ()
    if lungs_file is None:
        found = find_lungs(read.volume, lung_mask)
        lungs, findings = read.volume.with_voxels(found.labels_zyx), found.quality.findings
    else:
        lungs = read_mask(lungs_file)
    scan = segment_region(read.volume, lungs, load_once(Segmenter.load, segmenter))
    segmentations.save(scan.segmentation, folder / scan_id)
    verdict = verdict_of(read, reading, findings)
    return {"scan": scan_id, "slices": read.volume.shape_zyx[0], **verdict.as_row(), **scan.lung_measures}
