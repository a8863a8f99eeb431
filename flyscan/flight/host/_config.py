"""The host's configuration: which classes it may load, and how they are put together."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...errors import ConfigurationError

__all__ = ["ControllerConfig", "FlyerConfig", "HostConfig"]


@dataclass(frozen=True, slots=True)
class ControllerConfig:
    """A named controller: ``"package.module:Class"`` and its JSON-able parameters."""

    cls: str
    params: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def build(self, name: str, extra: Mapping[str, Any]) -> Any:
        """Make the controller.

        Raises:
            ConfigurationError: the class cannot be imported or refuses the parameters.
        """
        try:
            cls = load_class(self.cls)
            return cls(name, **self.params, **extra)
        except (TypeError, ValueError) as exc:
            raise ConfigurationError(
                f"{self.cls} refuses its parameters: {exc}",
                device=name,
                remedy="correct them in the host's configuration",
            ) from exc


@dataclass(frozen=True, slots=True)
class FlyerConfig:
    """Which controllers fly together.

    A name may point into a controller that is several things at once: ``"box.motion"``.

    Args:
        motion: the controller that moves.
        capture: the controller that triggers and captures.
        monitors: slow channels joined to the rows.
        options: fields of :class:`~flyscan.flight.FlightOptions`.
        align: axis to ``tolerance`` and ``distance`` (axis units): its encoder is set from the
            motor's position and verified by a small move before the first flight of a run.
        dead_times: channel to the seconds its detector is blind after a count; a column
            ``CHANNEL_corrected`` is added.
        shutter: the controller that keeps the beam off while no rows are taken; None for none.
    """

    motion: str
    capture: str
    monitors: tuple[str, ...] = ()
    options: Mapping[str, float] = field(default_factory=dict[str, float])
    align: Mapping[str, Mapping[str, float]] = field(default_factory=dict[str, Mapping[str, float]])
    dead_times: Mapping[str, float] = field(default_factory=dict[str, float])
    shutter: str | None = None


@dataclass(frozen=True, slots=True)
class HostConfig:
    """Everything a host is told when it starts; only what is named here can be loaded later.

    Args:
        controllers: name to class path and parameters.
        flyers: name to the controllers that fly together.
        sink: class path of the storage.
        sink_params: its JSON-able parameters.
        lease: seconds of silence from the client after which the host holds, then stops.
        pilot: class path of what steers flights.
        policies: class paths of policies it may load beside those of flyscan and those that
            installed packages register as entry points ``flyscan.policies``.
    """

    controllers: Mapping[str, ControllerConfig]
    flyers: Mapping[str, FlyerConfig]
    sink: str = "flyscan.storage:Hdf5Sink"
    sink_params: Mapping[str, Any] = field(default_factory=dict[str, Any])
    lease: float = 30.0
    pilot: str = "flyscan.adaptive:AdaptivePilot"
    policies: tuple[str, ...] = ()

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> HostConfig:
        """Read the JSON form; see :meth:`to_dict`.

        Raises:
            ConfigurationError: unknown or missing entries.
        """
        try:
            controllers = {
                name: ControllerConfig(c["class"], c.get("params", {}))
                for name, c in data["controllers"].items()
            }
            flyers = {
                name: FlyerConfig(
                    f["motion"],
                    f["capture"],
                    tuple(f.get("monitors", ())),
                    f.get("options", {}),
                    f.get("align", {}),
                    f.get("dead_times", {}),
                    f.get("shutter"),
                )
                for name, f in data["flyers"].items()
            }
        except (KeyError, TypeError, AttributeError) as exc:
            raise ConfigurationError(
                f"host configuration is incomplete: {exc!r}",
                device="flight host",
                remedy="give controllers {name: {class, params}}, flyers {name: {motion, capture}}",
            ) from exc
        rest = {k: data[k] for k in ("sink", "sink_params", "lease", "pilot") if k in data}
        rest["policies"] = tuple(data.get("policies", ()))
        return cls(controllers, flyers, **rest)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return {
            "controllers": {
                n: {"class": c.cls, "params": dict(c.params)} for n, c in self.controllers.items()
            },
            "flyers": {
                n: {
                    "motion": f.motion,
                    "capture": f.capture,
                    "monitors": list(f.monitors),
                    "options": dict(f.options),
                    "align": {axis: dict(a) for axis, a in f.align.items()},
                    "dead_times": dict(f.dead_times),
                    "shutter": f.shutter,
                }
                for n, f in self.flyers.items()
            },
            "sink": self.sink,
            "sink_params": dict(self.sink_params),
            "lease": self.lease,
            "pilot": self.pilot,
            "policies": list(self.policies),
        }


def load_class(path: str) -> Any:
    """Import ``"package.module:Class"``.

    Raises:
        ConfigurationError: there is no such module or class.
    """
    module, _, name = path.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as exc:
        raise ConfigurationError(
            f"cannot load {path!r}: {exc}",
            device="flight host",
            remedy="write it as package.module:Class and install what it needs",
        ) from exc
