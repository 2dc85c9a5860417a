"""Segment the lungs of given scans: time, volumes and a contact sheet of each.

Run it as `python benchmarks/lungs.py --out OUT SCAN ...`; settings come from params.yaml.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from nodules import params
from nodules.imaging.lung_mask import LungMaskParams, lung_measures, segment_lungs
from nodules.imaging.overlay import lung_contours, save_figure
from nodules.scans.scan import read_scan


def main() -> None:
    """Print one line a scan."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scans", nargs="+", type=Path, metavar="SCAN")
    parser.add_argument("--out", type=Path, required=True, help="folder for the contact sheets")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    arguments = parser.parse_args()
    settings = params.load("lung_mask", LungMaskParams, arguments.params)
    arguments.out.mkdir(parents=True, exist_ok=True)
    print("scan,slices,cpu_seconds,volume_right_l,volume_left_l,mean_hu,emphysema_share")
    for path in arguments.scans:
        print(measure(path, settings, arguments.out), flush=True)


def measure(path: Path, settings: LungMaskParams, out: Path) -> str:
    """Segment one scan, write its sheet and return its line."""
    scan = read_scan(path)
    start = time.process_time()
    labels = segment_lungs(scan, settings)
    seconds = time.process_time() - start
    save_figure(lung_contours(scan, labels), out / f"{path.stem}.png")
    found = lung_measures(scan, labels)
    volumes = f"{found['volume_right_l']:.3f},{found['volume_left_l']:.3f}"
    return f"{path.name},{len(labels)},{seconds:.2f},{volumes},{found['mean_hu']:.0f},{found['emphysema_share']:.3f}"


if __name__ == "__main__":
    main()
