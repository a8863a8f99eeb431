"""The process variables as data.

Names and menus are those of the templates NDArrayBase, ADBase, NDPluginBase, NDFile and
NDFileHDF5 of ADCore, and of ADVimba.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from flyscan_sim.epics._fields import Kind, Value

__all__ = ["CAMERA", "WRITER", "Pv"]

_NO_YES: Final = ("No", "Yes")


@dataclass(frozen=True)
class Pv:
    """A setting or a reading.

    Attributes:
        name: without ``_RBV``.
        kind: type on the wire.
        initial: first value; menus hold their index.
        access: "rw" has the name for writing and ``_RBV`` for reading, "r" ``_RBV`` alone, "w"
            and "ro" the plain name alone, writable or not.
        labels: choices of a menu.
    """

    name: str
    kind: Kind
    initial: Value
    access: str = "rw"
    labels: tuple[str, ...] = ()

    @property
    def names(self) -> Iterator[tuple[str, bool]]:
        """Names on the network, with whether they can be written."""
        if self.access != "r":
            yield self.name, self.access != "ro"
        if self.access in ("r", "rw"):
            yield f"{self.name}_RBV", False


def _long(names: str, initial: int = 0, access: str = "rw") -> list[Pv]:
    return [Pv(name, Kind.LONG, initial, access) for name in names.split()]


def _string(name: str, initial: str, access: str = "r") -> Pv:
    return Pv(name, Kind.STRING, initial, access)


def _text(names: str, access: str = "rw") -> list[Pv]:
    return [Pv(name, Kind.TEXT, "", access) for name in names.split()]


def _menu(name: str, *labels: str, initial: str | None = None, access: str = "rw") -> Pv:
    return Pv(name, Kind.MENU, labels.index(initial or labels[0]), access, labels)


_ARRAY: Final = [
    *_text("NDAttributesFile", "w"),
    *_long("UniqueId ArraySizeX ArraySizeY ArraySizeZ", access="r"),
    *_long("ArraySize0 ArraySize1 ArraySize2", access="r"),
    *_long("ArrayCounter"),
    _menu("ColorMode", "Mono", access="r"),
    _menu("DataType", "Int8", "UInt8", "Int16", "UInt16", initial="UInt16", access="r"),
    _string("ADCoreVersion", "3.13.0"),
    _string("DriverVersion", "1.0.0"),
]

CAMERA: Final = [
    *_ARRAY,
    _string("PortName", "CAM"),
    _string("Manufacturer", "Allied Vision"),
    _string("Model", ""),
    _string("SerialNumber", "SIM-0001"),
    _string("SDKVersion", "1.0"),
    _string("FirmwareVersion", "1.0"),
    Pv("AcquireTime", Kind.DOUBLE, 0.01),
    Pv("AcquirePeriod", Kind.DOUBLE, 0.02),
    *_long("NumImages", 1),
    *_long("NumImagesCounter", access="r"),
    _menu("ImageMode", "Single", "Multiple", "Continuous", initial="Continuous"),
    _menu(
        "DetectorState",
        "Idle",
        "Acquire",
        "Readout",
        "Correct",
        "Saving",
        "Aborting",
        "Error",
        "Waiting",
        "Initializing",
        "Disconnected",
        "Aborted",
        access="r",
    ),
    _menu("Acquire", "Done", "Acquire"),
    _menu("WaitForPlugins", *_NO_YES, access="w"),
    _menu("ConvertPixelFormat", "None", "Mono8", "Mono16", "RGB8", "RGB16"),
    _menu(
        "TriggerSource", "Freerun", "Line1", "Line2", "FixedRate", "Software", "Action0", "Action1"
    ),
    _menu("TriggerMode", "Off", "On"),
    _menu("TriggerOverlap", "Off", "PreviousFrame"),
    _menu("ExposureMode", "Timed", "TriggerWidth"),
]
"""Driver, prefix ``cam1:``."""

WRITER: Final = [
    *_ARRAY,
    _string("PortName", "HDF1"),
    _string("NDArrayPort", "CAM", "rw"),
    *_long("NDArrayAddress"),
    *_long("QueueSize", 1000),
    _menu("EnableCallbacks", "Disable", "Enable"),
    *_text("FilePath FileName FileTemplate XMLFileName"),
    *_text("FullFileName", "r"),
    _menu("FilePathExists", *_NO_YES, access="r"),
    *_long("FileNumber CreateDirectory NumCapture"),
    *_long("NumCaptured", access="r"),
    *_long("ArraySize0 ArraySize1", access="ro"),
    _menu("AutoIncrement", *_NO_YES),
    _menu("FileWriteMode", "Single", "Capture", "Stream"),
    _menu("Capture", "Done", "Capture"),
    _menu("WriteStatus", "Write OK", "Write error", access="ro"),
    *_text("WriteMessage", "ro"),
    _menu("PositionMode", "Off", "On"),
    _menu("Compression", "None", "N-bit", "szip", "zlib", "Blosc", "BSLZ4", "LZ4", "JPEG"),
    *_long("NumExtraDims"),
    *_long("NumFramesChunks", 1),
    _menu("SWMRMode", "Off", "On"),
    _menu("FlushNow", "Done", "Flush", access="w"),
    _menu("ChunkSizeAuto", *_NO_YES),
    _menu("LazyOpen", *_NO_YES),
]
"""HDF5 file plugin, prefix ``HDF1:``."""
