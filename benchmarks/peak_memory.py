"""Exit status, wall time and peak memory of a command with all its child processes.

Run it as `python benchmarks/peak_memory.py make repro`. Memory is PSS (on Linux), read every two seconds: memory that
processes share is counted once.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

import psutil

SECONDS = 2.0


def main() -> int:
    """Run the command on the command line, and return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", nargs=argparse.REMAINDER)
    started, peak_bytes = time.monotonic(), 0
    process = subprocess.Popen(parser.parse_args().command)
    while process.poll() is None:
        peak_bytes = max(peak_bytes, tree_bytes(process.pid))
        time.sleep(SECONDS)
    seconds = time.monotonic() - started
    print(f"exit status {process.returncode}, {seconds:.0f} s, peak {peak_bytes / 2**30:.2f} GiB")
    return process.returncode


def tree_bytes(pid: int) -> int:
    """PSS of a process and all its descendants; processes that have just ended count as 0."""
    try:
        tree = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    total = 0
    for process in tree:
        try:
            total += process.memory_full_info().pss
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return total


if __name__ == "__main__":
    sys.exit(main())
