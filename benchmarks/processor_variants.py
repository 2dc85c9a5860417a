"""Tests of the networks under emulated processors and other users' Keras settings.

Run it as `python benchmarks/processor_variants.py`. Names of variants may follow; `--paths` selects other tests. Some
variants make oneDNN ignore instructions, switch oneDNN off, or use more threads; each changes rounding. Others put a
keras.json into the home folder, as another project might. The row of a variant says how the tests ended. The exit
status is 1 if any test failed.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROJECT = Path(__file__).parents[1]
# A test file that uses a network contains one of these names.
NETWORK = re.compile(
    r"\b(keras|unet\.build|Segmenter|FalsePositiveReducer|TutorialUnet|tiny_pipeline|tiny_copy|keen_model)\b"
)
VARIANTS: dict[str, dict[str, str]] = {
    "unchanged": {},
    "SSE 4.1": {"ONEDNN_MAX_CPU_ISA": "SSE41"},
    "AVX2": {"ONEDNN_MAX_CPU_ISA": "AVX2"},
    "AVX-512": {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE"},
    "two threads": {"TF_NUM_INTRAOP_THREADS": "2"},
    "without oneDNN": {"TF_ENABLE_ONEDNN_OPTS": "0"},
}
KERAS_JSON = {
    "channels_first": {"image_data_format": "channels_first"},
    "float16": {"floatx": "float16"},
    "theano": {"backend": "theano"},
}


def main() -> int:
    """Run the variants one after another and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("variants", nargs="*", help=f"of {', '.join([*VARIANTS, *KERAS_JSON])}; default: all")
    parser.add_argument("--paths", nargs="+", help="tests to run; default: the files that touch a network")
    arguments = parser.parse_args()
    names = arguments.variants or [*VARIANTS, *KERAS_JSON]
    if unknown := sorted(set(names) - {*VARIANTS, *KERAS_JSON}):
        parser.error(f"unknown variant {unknown[0]!r}; known: {', '.join([*VARIANTS, *KERAS_JSON])}")
    print("| variant | outcome | s |\n| --- | --- | ---: |")
    outcomes = [run(name, arguments.paths or network_tests()) for name in names]
    return int(not all(outcomes))


def network_tests() -> list[str]:
    """Paths of the test files that touch a network."""
    files = sorted((PROJECT / "tests").rglob("test_*.py"))
    return [str(file.relative_to(PROJECT)) for file in files if NETWORK.search(file.read_text())]


def run(name: str, paths: list[str]) -> bool:
    """Run the tests under one variant and print its row. If they fail, print the end of their output on stderr."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as home:
        environment = os.environ | VARIANTS.get(name, {})
        if name in KERAS_JSON:
            folder = Path(home) / ".keras"
            folder.mkdir()
            (folder / "keras.json").write_text(json.dumps(KERAS_JSON[name]))
            environment |= {"HOME": home}
        command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "--dist", "loadfile", *paths]
        done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True)
    outcome = next((line for line in reversed(done.stdout.splitlines()) if " in " in line), "no outcome").strip("= ")
    print(f"| {name} | {outcome} | {time.monotonic() - started:.0f} |", flush=True)
    if done.returncode:
        print(done.stdout[-20000:], done.stderr[-5000:], file=sys.stderr)
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
