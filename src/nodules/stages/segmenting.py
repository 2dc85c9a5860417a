"""One scan through the U-Net and onto the disk, as the stages segment_luna and segment_dsb both do it."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nodules.imaging.lung_mask import LungMaskParams
from nodules.scans import segmentation_store
from nodules.scans.scan import read_scan
from nodules.scans.volume_files import read_mask
from nodules.waiting_scans import identity

if TYPE_CHECKING:
    from nodules.models.segmenter import Segmenter


def segment_scan_file(
    item: tuple[str, Path, Path | None], folder: Path, *, segmenter: Path, lung_mask: LungMaskParams
) -> dict[str, Any]:
    """Read a scan, find its lungs unless a file has them, and write the network's answer to `folder/<id>/`."""
    from nodules.models import diagnosis  # TensorFlow loads in the workers, not in the process that hands out work

    scan_id, path, lungs = item
    volume = read_scan(path)
    network = _load(segmenter, identity(segmenter))
    if lungs is None:
        scan = diagnosis.segment_scan(volume, network, lung_mask)
    else:
        scan = diagnosis.segment_region(volume, read_mask(lungs), network)
    segmentation_store.save(scan.segmentation, folder / scan_id)
    return {"scan": scan_id, "slices": volume.shape_zyx[0], **scan.lung_measures}


@functools.lru_cache(maxsize=1)
def _load(folder: Path, identity: str) -> Segmenter:  # noqa: ARG001 - a Dask worker may outlive a network of that name
    from nodules.models.segmenter import Segmenter

    return Segmenter.load(folder)
