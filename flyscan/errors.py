"""Errors of flyscan.

Every error names the device, what was expected, what came and the remedy, so that the one
line a beamline scientist reads at night is enough to act on. They survive the trip from the
flight host to the RunEngine's process as JSON (`to_dict` / `from_dict`).
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "BadPathError",
    "BusyError",
    "CaptureError",
    "ConfigurationError",
    "ConnectionLostError",
    "ControllerError",
    "FlightAbortedError",
    "FlyscanError",
    "HostError",
    "LedgerError",
    "LimitError",
    "MotionError",
    "NotReadyError",
    "StorageError",
    "WatchdogError",
    "error_from_dict",
]


class FlyscanError(Exception):
    """Base class: a problem with a named device and a remedy.

    Args:
        problem: what went wrong, with what was expected and what came.
        device: name of the device, axis, channel or file concerned.
        remedy: what the user can do about it.
    """

    def __init__(self, problem: str, *, device: str = "", remedy: str = "") -> None:
        self.problem = problem
        self.device = device
        self.remedy = remedy
        super().__init__(problem, device, remedy)

    def __str__(self) -> str:
        text = f"{self.device}: {self.problem}" if self.device else self.problem
        return f"{text}. Remedy: {self.remedy}" if self.remedy else text

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form, read back by :func:`error_from_dict`."""
        return {
            "type": type(self).__name__,
            "problem": self.problem,
            "device": self.device,
            "remedy": self.remedy,
        }


class BadPathError(FlyscanError):
    """The path itself is unusable: empty, zero-length, NaN, infinite, unknown axis."""


class LimitError(FlyscanError):
    """The path asks for more than an axis or a trigger unit can do."""


class ConfigurationError(FlyscanError):
    """A device, channel, policy or parameter is unknown or wired wrongly."""


class NotReadyError(FlyscanError):
    """A box is reachable but not fit to fly: servo off, not referenced, paused, foreign client."""


class BusyError(FlyscanError):
    """Somebody else is flying or using the box."""


class ControllerError(FlyscanError):
    """A controller refused a command or answered nonsense."""


class MotionError(ControllerError):
    """The stage did not do what it was told: stall, following error, limit switch."""


class CaptureError(ControllerError):
    """The capture box ended or lost data: overrun, disarmed, framing error, lost triggers."""


class ConnectionLostError(ControllerError):
    """A connection to a box could not be made or broke and could not be recovered."""


class WatchdogError(ControllerError):
    """Something awaited did not come in time."""


class LedgerError(FlyscanError):
    """The account of a segment does not close."""


class StorageError(FlyscanError):
    """The data file cannot be created or written."""


class FlightAbortedError(FlyscanError):
    """The flight was stopped by its user."""


class HostError(FlyscanError):
    """The flight host is gone, refused a message or broke its protocol."""


def error_from_dict(data: dict[str, Any]) -> FlyscanError:
    """Rebuild an error sent by :meth:`FlyscanError.to_dict`; unknown types become the base."""
    kinds = {cls.__name__: cls for cls in _subclasses(FlyscanError)}
    cls = kinds.get(str(data.get("type")), FlyscanError)
    return cls(
        str(data.get("problem", "unknown error")),
        device=str(data.get("device", "")),
        remedy=str(data.get("remedy", "")),
    )


def _subclasses(cls: type[FlyscanError]) -> list[type[FlyscanError]]:
    found = [cls]
    for sub in cls.__subclasses__():
        found.extend(_subclasses(sub))
    return found
