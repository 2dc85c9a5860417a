"""Cost of a first run by stage: wall time, CPU time and peak memory.

Run it as `python benchmarks/first_run.py` in a new clone after `make env`. It runs `dvc repro` and prints the tables of
`first_run.md`. Another command that runs stages can be given, such as `dvc repro evaluate_unet`.

The row of a stage includes what DVC does after it: hashing the outputs and writing dvc.lock. Memory is that of all
processes together, read every two seconds (PSS, on Linux: memory that processes share is counted once).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import psutil

from peak_memory import tree_bytes

SECONDS = 2.0
STAGE = re.compile(r"Running stage '(.+)':")
PROCESSOR = Path("/proc/cpuinfo")  # Linux
FIGURES = {
    "Dice per nodule, mean": "dice_mean",
    "CPM": "cpm",
    "nodules found": "nodules_found",
    "nodules": "nodules",
    "false positives per scan": "false_positives_per_scan",
}


@dataclass
class Part:
    """Amounts that a stage used; while measuring, the readings at its start."""

    name: str
    wall_s: float
    processor_s: float
    peak_bytes: int = 0


def main() -> int:
    """Run the command, print the tables, and return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", nargs=argparse.REMAINDER, help="default: dvc repro")
    process = subprocess.Popen(
        parser.parse_args().command or ["dvc", "repro"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    parts = measured(process)
    print("\n" + machine() + "\n")
    print("\n".join(table(parts)))
    print("\n".join(figures()))
    return process.wait()


def measured(process: subprocess.Popen[str]) -> list[Part]:
    """Follow the command to its end, from stage to stage; its output is passed on."""
    starts, ended = [Part("DVC, before the first stage", time.monotonic(), 0.0)], threading.Event()
    dvc = psutil.Process(process.pid)
    watcher = threading.Thread(target=watch_memory, args=(process.pid, starts, ended))
    watcher.start()
    for line in process.stdout or ():
        sys.stdout.write(line)
        if found := STAGE.match(line):
            starts.append(Part(found[1], time.monotonic(), processor_s(dvc)))
    end = Part("end", time.monotonic(), processor_s(dvc))
    ended.set()
    watcher.join()
    return list(differences([*starts, end]))


def differences(starts: list[Part]) -> Iterator[Part]:
    """Convert readings at the start of each part into the amounts that the part used."""
    for part, following in pairwise(starts):
        spent = (following.wall_s - part.wall_s, following.processor_s - part.processor_s)
        yield Part(part.name, *spent, part.peak_bytes)


def processor_s(process: psutil.Process) -> float:
    """CPU time of a process and of its finished descendants."""
    return float(sum(process.cpu_times()[:4]))


def watch_memory(pid: int, parts: list[Part], ended: threading.Event) -> None:
    """Keep the peak of the part that is running."""
    while not ended.wait(SECONDS):
        parts[-1].peak_bytes = max(parts[-1].peak_bytes, tree_bytes(pid))


def machine() -> str:
    """Describe the processor, its cores, the limit set for oneDNN, and the Python version."""
    names = re.findall(r"model name\s*:\s*(.+)", PROCESSOR.read_text()) if PROCESSOR.exists() else []
    flags = PROCESSOR.read_text().split() if PROCESSOR.exists() else []
    units = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in flags]
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA", "not set")
    return (
        f"{names[0] if names else platform.processor()} ({', '.join(units)}), {psutil.cpu_count()} cores, "
        f"ONEDNN_MAX_CPU_ISA {limit}, Python {platform.python_version()}"
    )


def table(parts: list[Part]) -> Iterator[str]:
    """One row per stage, then the total."""
    yield "| stage | wall, s | processor time, s | peak memory, GiB |"
    yield "| --- | ---: | ---: | ---: |"
    total = Part(
        "total", sum(p.wall_s for p in parts), sum(p.processor_s for p in parts), max(p.peak_bytes for p in parts)
    )
    for part in (*parts, total):
        yield f"| {part.name} | {part.wall_s:.0f} | {part.processor_s:.0f} | {part.peak_bytes / 2**30:.1f} |"


def figures() -> Iterator[str]:
    """Quality of the trained network on the test scans."""
    metrics = Path("models/metrics/unet.json")
    numbers = json.loads(metrics.read_text()) if metrics.exists() else {}
    yield from ("", "| test scans | value |", "| --- | ---: |")
    yield from (f"| {words} | {numbers[name]:.3g} |" for words, name in FIGURES.items() if name in numbers)


if __name__ == "__main__":
    sys.exit(main())
