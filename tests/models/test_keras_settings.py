"""A keras.json in the user's home, written for other work, changes nothing here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.code_graph import SOURCE

OTHER_WORK = {"backend": "theano", "floatx": "float16", "epsilon": 1e-3, "image_data_format": "channels_first"}
ANSWER = """
{first}
from nodules.models.unet import network as unet
import keras
network = unet.build(unet.UNetParams(2, 1, stem_stride=1, normalisation="batch", residual=False), channels=3)
print(keras.config.backend(), keras.config.floatx(), keras.config.dtype_policy().name, keras.config.epsilon())
print(keras.config.image_data_format(), network.output_shape, {{str(weight.dtype) for weight in network.weights}})
"""


def said(home: Path, settings: dict[str, object], first: str = "") -> list[str]:
    """What a new process with this keras.json says of its settings and of a network built under them."""
    (home / ".keras").mkdir()
    (home / ".keras" / "keras.json").write_text(json.dumps(settings))
    away = ("KERAS_HOME", "KERAS_BACKEND")
    environment = {name: value for name, value in os.environ.items() if name not in away}
    done = subprocess.run(
        [sys.executable, "-c", ANSWER.format(first=first)],
        env=environment | {"HOME": str(home), "USERPROFILE": str(home), "PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("settings", "first"),
    [(OTHER_WORK, ""), (OTHER_WORK | {"backend": "tensorflow"}, "import keras")],
    ids=["read by nobody", "read before this package was imported"],
)
def test_keras_json_of_the_user_is_set_aside(tmp_path, settings, first):
    assert said(tmp_path, settings, first) == [
        "tensorflow float32 float32 1e-07",
        "channels_last (None, None, None, 1) {'float32'}",
    ]
    assert json.loads((tmp_path / ".keras" / "keras.json").read_text()) == settings
