"""Axis map: user position <-> dial position <-> encoder counts, and its check on the stage.

The EPICS motor record's convention holds between user and dial (``user = DIR * dial + OFF``);
between dial and counts there are the encoder's resolution, its counting direction and the dial
position at which it reads zero.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Protocol, overload

from ..errors import ConfigurationError, LimitError, NotReadyError
from ..flight import FloatArray

__all__ = ["INT32_MAX", "INT32_MIN", "AxisMap", "EncoderPort", "align"]

INT32_MIN = -(2**31)
INT32_MAX = 2**31 - 1


@dataclass(frozen=True, slots=True)
class AxisMap:
    """How one axis' user positions, dial positions and encoder counts belong together.

    Args:
        encoder: the capture box's name of the encoder input, e.g. ``"INENC1"``.
        resolution: dial units per count, positive.
        sign: +1 if the encoder counts up with the dial position, -1 if down.
        zero: dial position at which the encoder reads 0.
        direction: +1 or -1; the motor record's DIR.
        offset: user position at dial 0; the motor record's OFF.
        unit: unit of user and dial positions.
        latency: seconds by which the encoder's reading is late, from calibration: the spread
            between the two directions of a snake is twice velocity times this.
    """

    encoder: str
    resolution: float
    sign: int = 1
    zero: float = 0.0
    direction: int = 1
    offset: float = 0.0
    unit: str = ""
    latency: float = 0.0

    def __post_init__(self) -> None:
        if not (self.resolution > 0 and math.isfinite(self.resolution)):
            raise self._wrong("resolution", "a positive number of units per count", self.resolution)
        for name in ("sign", "direction"):
            if getattr(self, name) not in (-1, 1):
                raise self._wrong(name, "+1 or -1", getattr(self, name))
        for name in ("zero", "offset", "latency"):
            if not math.isfinite(getattr(self, name)):
                raise self._wrong(name, "a finite number", getattr(self, name))

    def _wrong(self, name: str, expected: str, got: object) -> ConfigurationError:
        return ConfigurationError(
            f"axis map: {name} must be {expected}, got {got!r}",
            device=self.encoder,
            remedy="correct the axis map in the configuration of the capture box",
        )

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> AxisMap:
        """Build from JSON-able parameters.

        Raises:
            ConfigurationError: unknown or missing parameters.
        """
        known = {f.name for f in fields(cls)}
        unknown = set(data) - known
        missing = {"encoder", "resolution"} - set(data)
        if unknown or missing:
            raise ConfigurationError(
                f"axis map: unknown parameters {sorted(unknown)}, missing {sorted(missing)}",
                device=str(data.get("encoder", "axis map")),
                remedy=f"parameters are {', '.join(sorted(known))}",
            )
        return cls(**data)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return asdict(self)

    @property
    def scale(self) -> float:
        """User units per count, signed: ``user = scale * counts + origin``."""
        return self.direction * self.sign * self.resolution

    @property
    def origin(self) -> float:
        """User position at 0 counts."""
        return self.direction * self.zero + self.offset

    def dial(self, user: float) -> float:
        """Dial position of a user position."""
        return self.direction * (user - self.offset)

    @overload
    def counts(self, user: float) -> float: ...

    @overload
    def counts(self, user: FloatArray) -> FloatArray: ...

    def counts(self, user: float | FloatArray) -> float | FloatArray:
        """Encoder counts of a user position, not rounded."""
        return (user - self.origin) / self.scale

    @overload
    def user(self, counts: float) -> float: ...

    @overload
    def user(self, counts: FloatArray) -> FloatArray: ...

    def user(self, counts: float | FloatArray) -> float | FloatArray:
        """User position of encoder counts."""
        return counts * self.scale + self.origin

    def compare_shift(self, velocity: float) -> float:
        """Counts to add to a compare position for an axis passing it at `velocity` (user units/s).

        When the stage is at x the late encoder still reads ``x - velocity * latency``.
        """
        return -velocity * self.latency / self.scale

    def check_range(self, low: float, high: float) -> None:
        """Make sure that the 32-bit encoder counter holds user positions `low` to `high`.

        Raises:
            LimitError: it would overflow.
        """
        ends = (self.counts(low), self.counts(high))
        if min(ends) < INT32_MIN or max(ends) > INT32_MAX:
            raise LimitError(
                f"{low:g} to {high:g} {self.unit} is {min(ends):.0f} to {max(ends):.0f} counts, "
                f"the encoder counter holds {INT32_MIN} to {INT32_MAX}",
                device=self.encoder,
                remedy="choose `zero` and `offset` of the axis map near the path, or preset the "
                "encoder there",
            )


class EncoderPort(Protocol):
    """One encoder input of a capture box."""

    @property
    def name(self) -> str:
        """The box's name of the input."""
        ...

    @property
    def incremental(self) -> bool:
        """True if the count is relative and may be set; False for an absolute encoder."""
        ...

    async def read(self) -> int:
        """Present count."""
        ...

    async def preset(self, counts: int) -> None:
        """Set the present count of an incremental encoder."""
        ...


async def align(
    axis_map: AxisMap,
    port: EncoderPort,
    readback: Callable[[], Awaitable[float]],
    *,
    tolerance: float,
    move: Callable[[float], Awaitable[None]] | None = None,
    distance: float = 0.0,
) -> float:
    """Set and verify an encoder against the motor's read-back, while the axis is at rest.

    An incremental encoder is preset from the read-back; an absolute one must agree with it.
    Given `move`, the axis then goes `distance` away and back: only that proves a quadrature
    cable, its sign and its resolution.

    Args:
        axis_map: the map to verify.
        port: the encoder input.
        readback: gives the motor's position in user units.
        tolerance: largest accepted disagreement, in user units, positive.
        move: moves the axis to a user position and returns at rest.
        distance: signed distance of the verification move, in user units.

    Returns:
        Encoder minus motor position at the end, in user units.

    Raises:
        NotReadyError: the encoder disagrees with the motor, or does not follow it.
        ConfigurationError: it follows in the wrong direction or at another scale.
    """
    here = await readback()
    if port.incremental:
        axis_map.check_range(here, here)
        await port.preset(round(axis_map.counts(here)))
    seen = axis_map.user(await port.read())
    if not abs(seen - here) <= tolerance:
        raise _disagrees(axis_map, port, here, seen, tolerance)
    if move is None:
        return seen - here
    await _verify_move(axis_map, port, readback, move, here, distance, tolerance)
    return axis_map.user(await port.read()) - await readback()


async def _verify_move(
    axis_map: AxisMap,
    port: EncoderPort,
    readback: Callable[[], Awaitable[float]],
    move: Callable[[float], Awaitable[None]],
    here: float,
    distance: float,
    tolerance: float,
) -> None:
    before = await port.read()
    try:
        await move(here + distance)
        moved = await readback() - here
        followed = (await port.read() - before) * axis_map.scale
    finally:
        await move(here)
    if abs(moved) <= 2 * tolerance:
        raise NotReadyError(
            f"the verification move of {distance:g} {axis_map.unit} changed the motor's "
            f"read-back by {moved:g} only",
            device=port.name,
            remedy="choose a distance well above the tolerance, and check that the axis moves",
        )
    if abs(followed - moved) <= tolerance:
        return
    if abs(followed) <= tolerance:
        raise NotReadyError(
            f"the motor moved by {moved:g} {axis_map.unit}, the encoder stood still",
            device=port.name,
            remedy="check the encoder cable and that it belongs to this axis",
        )
    raise ConfigurationError(
        f"the motor moved by {moved:g} {axis_map.unit}, the encoder by {followed:g}",
        device=port.name,
        remedy="flip `sign` in the axis map"
        if abs(followed + moved) <= tolerance
        else f"set `resolution` in the axis map to {axis_map.resolution * abs(moved / followed):g}",
    )


def _disagrees(
    axis_map: AxisMap, port: EncoderPort, motor: float, encoder: float, tolerance: float
) -> NotReadyError:
    return NotReadyError(
        f"the encoder says {encoder:g} {axis_map.unit}, the motor {motor:g}; they may differ by "
        f"{tolerance:g}",
        device=port.name,
        remedy="home the axis, or correct `zero` of the axis map by "
        f"{axis_map.direction * (motor - encoder):g}",
    )
