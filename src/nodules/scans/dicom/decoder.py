"""Decode compressed pixels in a separate process, because the C++ decoders can crash on damaged data."""

from __future__ import annotations

import atexit
import json
import os
import resource
import subprocess
import sys
import threading
from collections.abc import Mapping
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from pydicom.encaps import encapsulate
from pydicom.pixels import get_decoder
from pydicom.uid import UID

MAX_SECONDS = 60.0
"""Time limit for one slice; 512 x 512 pixels take a few hundredths of a second."""

MAX_BYTES = 2 * 2**30
"""Limit of the address space of the decoding process."""

_COMMAND = [sys.executable, "-P", __file__]  # by path: a fresh process may be unable to import the package
_LOCK = threading.Lock()
_running: dict[int, subprocess.Popen[bytes]] = {}  # by id of the parent process: a fork must not share its pipes


def decode(codestream: bytes, syntax: str, description: Mapping[str, int | str]) -> NDArray[Any]:
    """Decode one frame.

    The decoding process starts with the first call, serves all further calls, and ends with its parent process.

    Parameters
    ----------
    codestream : bytes
        One compressed frame.
    syntax : str
        UID of its transfer syntax.
    description : mapping
        Values of the DICOM header: rows, columns, samples_per_pixel, photometric_interpretation, bits_allocated,
        bits_stored, pixel_representation.

    Returns
    -------
    (Y, X) ndarray
        Stored values of an integer type; the bits above bits_stored are left unchanged.

    Raises
    ------
    RuntimeError
        If the codestream cannot be decoded, or its decoder crashes, takes more than `MAX_SECONDS` or needs more than
        `MAX_BYTES`.
    """
    with _LOCK:
        reply, data = _ask({"syntax": str(syntax), "description": dict(description)}, codestream)
    if "error" in reply:
        raise RuntimeError(reply["error"])
    return np.frombuffer(data, np.dtype(reply["dtype"])).reshape(reply["shape"])


def _ask(request: dict[str, Any], codestream: bytes) -> tuple[dict[str, Any], bytes]:
    process = _process()
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("the decoding process has no pipes")
    alarm = threading.Timer(MAX_SECONDS, process.kill)
    alarm.start()
    answer = None
    try:
        _send(process.stdin, request, codestream)
        answer = _receive(process.stdout)
    except BrokenPipeError:
        pass
    finally:
        alarm.cancel()
        if answer is None:  # also after an interrupt: the next request must not receive this late reply
            _stop()
    if answer is None:
        raise RuntimeError("the compressed pixels are damaged: the decoder crashed or exceeded its limits")
    return answer


def _process() -> subprocess.Popen[bytes]:
    process = _running.get(os.getpid())
    if process is None or process.poll() is not None:
        environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(
            _COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
        )
        _running.clear()
        _running[os.getpid()] = process
    return process


@atexit.register
def _stop() -> None:
    process = _running.pop(os.getpid(), None)
    if process is not None:
        process.kill()
        process.communicate()


def _send(pipe: IO[bytes], header: dict[str, Any], data: bytes) -> None:
    pipe.write(json.dumps(header | {"bytes": len(data)}).encode() + b"\n")
    pipe.write(data)
    pipe.flush()


def _receive(pipe: IO[bytes]) -> tuple[dict[str, Any], bytes] | None:
    """Return the next message, or None at the end of the pipe."""
    if not (line := pipe.readline()).endswith(b"\n"):
        return None
    header = json.loads(line)
    size = header.pop("bytes")
    data = pipe.read(size)
    return (header, data) if len(data) == size else None


def _answer(request: dict[str, Any], codestream: bytes) -> tuple[dict[str, Any], bytes]:
    options = request["description"] | {
        "number_of_frames": 1,
        "pixel_keyword": "PixelData",
        "correct_unused_bits": False,
    }
    try:
        data = encapsulate([codestream], has_bot=False)
        array, _ = get_decoder(UID(request["syntax"])).as_array(data, index=0, **options)
    except Exception as error:  # noqa: BLE001 - every error of a decoder is returned to the caller
        return {"error": str(error)}, b""
    return {"dtype": array.dtype.str, "shape": array.shape}, np.ascontiguousarray(array).tobytes()


def _serve() -> None:
    """Answer requests until the parent process closes the pipe."""
    resource.setrlimit(resource.RLIMIT_AS, (MAX_BYTES, MAX_BYTES))
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # keeps the output of decoders out of the replies
    while (message := _receive(sys.stdin.buffer)) is not None:
        _send(replies, *_answer(*message))


if __name__ == "__main__":
    _serve()
