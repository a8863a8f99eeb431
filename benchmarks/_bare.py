"""The least that brings a PandA's rows into HDF5: receive, convert, write, flush."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import BinaryIO

import h5py
import numpy as np

from ._box import CLOCK_HZ, RECEIVE, Box, Ports

__all__ = ["Convert", "as_captured", "bare", "in_units"]

CHUNK = 16384
FLUSH_S = 0.25
RESOLUTION = 0.001

Convert = Callable[[np.ndarray], dict[str, np.ndarray]]


def as_captured(words: np.ndarray) -> dict[str, np.ndarray]:
    """Every captured word."""
    return {key: words[key] for key in words.dtype.names or ()}


def in_units(words: np.ndarray) -> dict[str, np.ndarray]:
    """What flyscan stores of a row, point and segment numbers left out."""
    gate = words["PCAP.GATE_DURATION.Value"]
    columns = {
        "time": (words["PCAP.TS_TRIG.Value"] - gate) / CLOCK_HZ,
        "exposure": gate / CLOCK_HZ,
        "I0": words["COUNTER1.OUT.Diff"],
        "Fe": words["COUNTER2.OUT.Diff"],
    }
    for axis, encoder in (("x", "INENC1.VAL"), ("y", "INENC2.VAL")):
        columns[axis] = words[f"{encoder}.Mean"] / gate * RESOLUTION
        columns[f"{axis}_min"] = words[f"{encoder}.Min"] * RESOLUTION
        columns[f"{axis}_max"] = words[f"{encoder}.Max"] * RESOLUTION
    return columns


def bare(ports: Ports, directory: str, seconds: float, convert: Convert) -> float:
    """Rows per second of a loop that does nothing but receive, convert and write."""
    name = os.path.join(directory, "bare.h5")
    with (
        h5py.File(name, "x", libver="v110") as file,
        Box(ports) as box,
        box.rows() as (stream, row),
    ):
        columns = {
            key: file.create_dataset(key, (0,), values.dtype, maxshape=(None,), chunks=(CHUNK,))
            for key, values in convert(np.ones(1, row)).items()
        }
        file.swmr_mode = True
        rate = _receive_and_write(stream, row, columns, seconds, convert)
    os.unlink(name)
    return rate


def _receive_and_write(
    stream: BinaryIO,
    row: np.dtype,
    columns: dict[str, h5py.Dataset],
    seconds: float,
    convert: Convert,
) -> float:
    buffer = memoryview(bytearray(2 * RECEIVE))
    rows, began = 0, time.monotonic()
    flushed = began
    while (now := time.monotonic()) < began + seconds:
        frame = buffer[: int.from_bytes(stream.read(8)[4:], "little") - 8]
        stream.readinto(frame)
        words = np.frombuffer(frame, row)
        for key, values in convert(words).items():
            columns[key].resize(rows + len(words), axis=0)
            columns[key][rows:] = values
        rows += len(words)
        if now > flushed + FLUSH_S:
            for column in columns.values():
                column.flush()
            flushed = now
    return rows / (time.monotonic() - began)
