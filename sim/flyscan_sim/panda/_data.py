"""The data port without IO: one request line in, header, samples and completion out.

Formats after the "Data Capture" chapter of the PandABlocks-server documentation.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import NDArray

from ._buffer import BlockBuffer, Reader, ReaderState
from ._capture import UNSCALED, CaptureOutput, CapturePlan
from ._experiment import Experiment
from ._text import CommandError, format_double

__all__ = ["DataOptions", "DataSession", "format_header", "format_samples", "parse_options"]

NETWORK_BYTES = 65536
BASE64_LINE_BYTES = 57
_FORMATS = {"ASCII": "ASCII", "BASE64": "Base64", "FRAMED": "Framed", "UNFRAMED": "Unframed"}
_QUOTES = {'"': "&quot;", "'": "&apos;"}


@dataclass(frozen=True, slots=True)
class DataOptions:
    """What a data client asked for."""

    format: str = "ASCII"
    raw: bool = False
    header: bool = True
    status: bool = True
    one_shot: bool = False
    xml: bool = False


_BARE = DataOptions("UNFRAMED", raw=True, header=False, status=False, one_shot=True)


def parse_options(line: str) -> DataOptions:
    """Options of a request line.

    Raises:
        CommandError: an unknown word or a carriage return.
    """
    if "\r" in line:
        raise CommandError("Cannot process CR character")
    options = DataOptions()
    for word in line.split():
        if word in _FORMATS:
            options = replace(options, format=word)
        elif word in _SWITCHES:
            options = replace(options, **_SWITCHES[word])
        elif word in ("BARE", "DEFAULT"):
            options = _BARE if word == "BARE" else DataOptions()
        else:
            raise CommandError("Invalid data capture option")
    return options


_SWITCHES: dict[str, dict[str, bool]] = {
    "RAW": {"raw": True},
    "SCALED": {"raw": False},
    "NO_HEADER": {"header": False},
    "NO_STATUS": {"status": False},
    "ONE_SHOT": {"one_shot": True},
    "XML": {"xml": True},
}


def format_header(
    plan: CapturePlan, options: DataOptions, arm_ns: int, start_ns: int, missed: int
) -> bytes:
    """The header of an experiment, with the empty line after it."""
    data = {
        "arm_time": iso_time(arm_ns),
        "start_time": iso_time(start_ns),
        "missed": str(missed),
        "process": "Raw" if options.raw else "Scaled",
        "format": _FORMATS[options.format],
    }
    if options.format != "ASCII":
        dtype = plan.raw_dtype if options.raw else plan.scaled_dtype
        data["sample_bytes"] = str(dtype.itemsize)
    fields = [_field_attributes(*part) for part in plan.header_outputs(raw=options.raw)]
    return (_xml(data, fields) if options.xml else _plain(data, fields)).encode()


def _field_attributes(output: CaptureOutput, type_name: str) -> dict[str, str]:
    attributes = {"name": output.source, "type": type_name, "capture": output.capture}
    if output.mode != UNSCALED:
        attributes["scale"] = f"{output.scale:.12g}"
        attributes["offset"] = f"{output.offset:.12g}"
        attributes["units"] = output.units
    return attributes


def _xml(data: dict[str, str], fields: list[dict[str, str]]) -> str:
    lines = ["<header>", f"<data{_attributes(data)} />", "<fields>"]
    lines += [f"<field{_attributes(field)} />" for field in fields]
    return "\n".join([*lines, "</fields>", "</header>", "", ""])


def _attributes(values: dict[str, str]) -> str:
    return "".join(f' {name}="{escape(value, _QUOTES)}"' for name, value in values.items())


def _plain(data: dict[str, str], fields: list[dict[str, str]]) -> str:
    lines = [f"{name}: {value}" for name, value in data.items()]
    lines.append("fields:")
    for field in fields:
        words = [field["name"], field["type"], field["capture"]]
        words += [
            f"{name}: {field[name]}" for name in ("scale", "offset", "units") if name in field
        ]
        lines.append(" " + " ".join(words))
    return "\n".join([*lines, "", ""])


def iso_time(unix_ns: int) -> str:
    """UTC with nanoseconds, as in ``2026-11-20T05:55:48.474910338Z``."""
    seconds, nanoseconds = divmod(unix_ns, 1_000_000_000)
    moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{moment}.{nanoseconds:09d}Z"


def format_samples(plan: CapturePlan, options: DataOptions, data: bytes) -> Iterator[bytes]:
    """A block of raw samples as it goes over the wire."""
    if options.raw and options.format == "FRAMED":
        yield _frame(data)
        return
    room = NETWORK_BYTES - (8 if options.format == "FRAMED" else 0)
    raw = np.frombuffer(data, plan.raw_dtype)
    samples = raw if options.raw else plan.scaled(raw)
    most = room // samples.dtype.itemsize
    for start in range(0, samples.size, most):
        part = samples[start : start + most]
        if options.format == "FRAMED":
            yield _frame(part.tobytes())
        elif options.format == "UNFRAMED":
            yield part.tobytes()
        elif options.format == "BASE64":
            yield _base64_lines(part.tobytes())
        else:
            yield _ascii_lines(part, raw=options.raw)


def _frame(data: bytes) -> bytes:
    return b"BIN " + (len(data) + 8).to_bytes(4, "little") + data


def _base64_lines(data: bytes) -> bytes:
    starts = range(0, len(data), BASE64_LINE_BYTES)
    return b"".join(
        b" " + base64.b64encode(data[i : i + BASE64_LINE_BYTES]) + b"\n" for i in starts
    )


def _ascii_lines(samples: NDArray[np.void], *, raw: bool) -> bytes:
    if raw:
        words = np.frombuffer(samples.tobytes(), "<u4").reshape(samples.size, -1)
        rows = ("".join(f" 0x{word:08x}" for word in row) for row in words.tolist())
    else:
        rows = ("".join(map(_ascii_value, row)) for row in samples.tolist())
    return "".join(f"{row}\n" for row in rows).encode()


def _ascii_value(value: float) -> str:
    return f" {value}" if isinstance(value, int) else f" {format_double(value)}"


class DataSession:
    """One data connection: waits for experiments and gives the bytes of each.

    :meth:`output` yields what can be sent now; when it ends the connection waits for its
    reader's notification, unless `closed`.
    """

    def __init__(self, buffer: BlockBuffer, experiment: Experiment) -> None:
        self.closed = False
        self.reader: Reader | None = None
        self._buffer = buffer
        self._experiment = experiment
        self._options = DataOptions()
        self._plan: CapturePlan | None = None
        self._sent = 0

    def request(self, line: str, connect: Callable[[], Reader]) -> bytes:
        """Take the request line; `connect` gives the place in the buffer if it is a good one."""
        try:
            self._options = parse_options(line)
        except CommandError as error:
            self.closed = True
            return f"ERR {error}\n".encode()
        self.reader = connect()
        return b"OK\n" if self._options.status else b""

    def output(self) -> Iterator[bytes]:
        """Everything that can be sent at present."""
        reader = self.reader
        while reader is not None and not self.closed:
            if self._plan is None and not (yield from self._begin(reader)):
                return
            yield from self._blocks(reader)
            if reader.state is ReaderState.READING:
                return
            yield from self._complete(reader)

    def _begin(self, reader: Reader) -> Generator[bytes, None, bool]:
        missed = self._buffer.open(reader)
        plan = self._experiment.plan
        if missed is None or plan is None:
            return False
        self._plan, self._sent = plan, 0
        if self._options.header:
            arm, start = self._experiment.arm_time_ns, self._experiment.start_time_ns
            yield format_header(plan, self._options, arm, start, missed)
        return True

    def _blocks(self, reader: Reader) -> Iterator[bytes]:
        while self._plan is not None and (block := self._buffer.read(reader)) is not None:
            data, samples = block
            if samples:
                yield from format_samples(self._plan, self._options, data)
                self._sent += samples
        while self._plan is not None and (more := self._experiment.endless(self._sent)) is not None:
            yield from format_samples(self._plan, self._options, more.tobytes())
            self._sent += more.size
        self._buffer.read(reader)  # sees whether the experiment has come to its end

    def _complete(self, reader: Reader) -> Iterator[bytes]:
        overrun = reader.state is ReaderState.OVERRUN
        reason = "Data overrun" if overrun else self._experiment.completion()
        self._buffer.close(reader)
        self._plan = None
        self.closed = self._options.one_shot
        if self._options.status:
            yield f"END {self._sent} {reason}\n".encode()
