"""Draws the published recipe step by step: lungs of one slice, and the network's image, as meant and as published."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from drawing import panels
from nodules.imaging.geometry.volume import Volume
from nodules.tutorial.steps.defects import TutorialDefects
from nodules.tutorial.steps.lung_steps import find_lung_steps
from nodules.tutorial.steps.prepared_scan import prepare
from nodules.tutorial.steps.settings import TutorialParams

AS_MEANT = TutorialParams(
    nodules="largest", size_px=256, window_hu=(-1000.0, 400.0), max_lung_hu=-400.0, min_probability=0.5
)
PAGE = TutorialDefects.as_published()
REPOSITORY = replace(PAGE, grey_values_wrap_at_16_bit=False)  # its last state


def lung_steps(plane_hu: NDArray[np.int16]) -> Figure:
    """From a slice to its lungs in eight panels."""
    steps = find_lung_steps(plane_hu, AS_MEANT)
    figure, made = panels(8, (9.6, 5.0), columns=4)
    histogram = made[1]
    histogram.set_axis_on()
    histogram.hist(steps.standardised_yx.ravel(), bins=120, color="#4c72b0")
    histogram.set_yscale("log")
    histogram.tick_params(labelsize=7)
    for centre in steps.centres:
        histogram.axvline(centre, color="black", linewidth=0.8, linestyle="dotted")
    histogram.axvline(steps.threshold, color="#c44e52")
    histogram.set_title("2 two means, threshold", fontsize=9)
    numbered = np.ma.masked_equal(steps.regions_yx, 0)
    shown = [
        (made[0], steps.standardised_yx, "gray", "1 standardised"),
        (made[2], steps.thresholded_yx, "gray", "3 darker than that"),
        (made[3], steps.eroded_yx, "gray", "4 eroded, 4 x 4"),
        (made[4], steps.dilated_yx, "gray", "5 dilated, 10 x 10"),
        (made[5], numbered, "tab10", f"6 regions: {steps.regions_yx.max()}"),
        (made[6], np.isin(steps.regions_yx, steps.kept), "gray", f"7 kept by their boxes: {len(steps.kept)}"),
        (made[7], steps.lungs_yx, "gray", "8 dilated again"),
    ]
    for panel, image, colours, title in shown:
        panel.imshow(image, cmap=colours, interpolation="nearest")
        panel.set_title(title, fontsize=9)
    return figure


def network_images(scan: Volume, z: int, node_mask_yx: NDArray[np.bool_]) -> Figure:
    """What the network sees of one slice: as the text means it, as the page codes it, as the repository last did."""
    figure, made = panels(3, (8.4, 3.35))
    ways = (
        ("as the text means it", TutorialDefects()),
        ("the page's code", PAGE),
        ("the repository's last code", REPOSITORY),
    )
    for panel, (title, defects) in zip(made, ways, strict=True):
        prepared = prepare(scan, replace(AS_MEANT, defects=defects))
        panel.imshow(prepared.image(z), cmap="gray")
        panel.set_title(f"{title}\nmask up to {prepared.node_mask(z, node_mask_yx).max():.4g}", fontsize=9)
    return figure
