"""One scan through a network on disk, by processes that live longer than that network."""

import shutil

import numpy as np

from nodules.imaging.lungs.segment import LungMaskParams
from nodules.models.unet.segmenter import Segmenter
from nodules.scans.result import ReadingParams
from nodules.scans.stores import segmentations
from nodules.stages.shared.segment_scan import segment_scan_file


def test_new_network_under_an_old_name_is_used(tiny_pipeline, tmp_path):
    """A Dask worker may run the stage before and after a training."""
    settings = {
        "reading": tiny_pipeline.params("reading", ReadingParams),
        "lung_mask": tiny_pipeline.params("lung_mask", LungMaskParams),
    }
    patient = next(path for path in tiny_pipeline.path("data/phantoms/dsb").iterdir() if path.is_dir())
    network = tmp_path / "segmenter"
    shutil.copytree(tiny_pipeline.path("models/segmenter"), network)

    def largest(name: str) -> float:
        folder = tmp_path / name
        segment_scan_file(("patient", patient, None), folder, segmenter=network, **settings)
        return float(segmentations.load(folder / "patient").probability_zyx.max())

    assert largest("before") > 0
    silent = Segmenter.load(network)
    silent.networks[0].get_layer("nodule").set_weights([np.zeros((1, 1, 4, 1)), np.array([-100.0])])
    silent.save(network)
    assert largest("after") == 0
