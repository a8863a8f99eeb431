"""A GCS controller in user units: its axes' state, moves, halts.

Axes are named as the user does; positions, velocities and accelerations are in user units.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress

from ...errors import ConfigurationError, FlyscanError, MotionError, WatchdogError
from ...flight import AxisLimits, Clock, RealClock, rest_to_rest
from ._axis import GcsAxis
from ._codec import Answer, parse_commands, parse_hex, parse_integer, parse_numbers, parse_texts
from ._errors import STOPPED, gcs_error
from ._link import GcsLink
from ._profile import GcsProfile

__all__ = ["MARGIN_S", "GcsController", "poll_interval"]

MARGIN_S = 2.0
"""Seconds beyond its expected end after which a motion is given up."""

_REQUIRED = ("MOV", "ONT?", "POS?", "STP", "SVO?", "TMN?", "TMX?", "VEL", "VEL?")
_SHORTEST_POLL_S = 0.001
_LONGEST_POLL_S = 0.05
# A box may decelerate more gently than configured: aim a little farther than v^2/2a.
_BRAKING_MARGIN = 1.25


def poll_interval(remaining: float) -> float:
    """Seconds until the next look at a motion: short near its expected end, on both sides."""
    return min(max(abs(remaining) / 4, _SHORTEST_POLL_S), _LONGEST_POLL_S)


class GcsController:
    """One controller and those of its axes that are configured.

    Args:
        name: name for errors.
        host: address.
        port: TCP port.
        axes: axes by user name.
        profile: the model.
        clock: what waits are measured with.
        timeout: seconds without a byte after which an answer is missed.
        reconnect: seconds for which a lost connection is tried again.
    """

    def __init__(
        self,
        name: str,
        host: str,
        port: int,
        *,
        axes: Mapping[str, GcsAxis],
        profile: GcsProfile,
        clock: Clock | None = None,
        timeout: float = 1.0,
        reconnect: float = 5.0,
    ) -> None:
        self.name = name
        self.axes = dict(axes)
        self.profile = profile
        self.clock = clock or RealClock()
        self.link = GcsLink(
            name, host, port, clock=self.clock, timeout=timeout, reconnect=reconnect
        )
        self.commands: frozenset[str] = frozenset()
        self._bits: dict[str, int] = {}
        self._limits: dict[str, AxisLimits] = {}
        # Where every axis was last sent and how fast, for braking without HLT.
        self._targets: dict[str, float] = {}
        self._speeds: dict[str, float] = {}

    async def connect(self) -> None:
        """Connect, identify, learn commands, axes and limits. Idempotent; changes nothing."""
        await self.link.open()
        if self._limits:
            return
        if self.profile.model not in self.link.identity:
            raise ConfigurationError(
                f"expected a {self.profile.model}, got {self.link.identity!r}",
                device=self.name,
                remedy="correct the profile or the host and port of the controller",
            )
        self.commands = await self.link.query(parse_commands, "HLP?")
        missing = [command for command in _REQUIRED if command not in self.commands]
        if missing:
            raise ConfigurationError(
                f"the controller's HLP? lacks {', '.join(missing)}",
                device=self.name,
                remedy="update its firmware, or use another binding",
            )
        await self._learn_axes()
        self._limits = await self._read_limits()

    async def close(self) -> None:
        """Disconnect. Idempotent."""
        await self.link.close()

    def lists(self, *commands: str) -> bool:
        """Whether ``HLP?`` lists all of `commands`."""
        return self.commands.issuperset(commands)

    @property
    def limits(self) -> Mapping[str, AxisLimits]:
        """Limits of every axis, as read on connection."""
        return self._limits

    async def read_limits(self) -> Mapping[str, AxisLimits]:
        """Limits of every axis, read again; speeds that were taken from the box stay."""
        self._limits = await self._read_limits(self._limits)
        return self._limits

    async def _learn_axes(self) -> None:
        def first_words(answer: Answer) -> list[str]:
            return [line.partition("=")[0].strip() for line in answer]

        # The mask of #5 counts all identifiers, those without a stage included.
        slots = await self.link.query(first_words, "SAI?", "ALL")
        usable = await self.link.query(first_words, "SAI?")
        for user, axis in self.axes.items():
            if axis.id not in usable:
                raise ConfigurationError(
                    f"axis {user!r} is configured as {axis.id!r}, "
                    f"the controller has {', '.join(usable)}",
                    device=self.name,
                    remedy="correct its 'id', or connect the stage",
                )
            self._bits[user] = 1 << slots.index(axis.id)

    async def _read_limits(
        self, known: Mapping[str, AxisLimits] | None = None
    ) -> dict[str, AxisLimits]:
        low, high = await self.numbers("TMN?", self.axes), await self.numbers("TMX?", self.axes)
        if known is None:
            speeds = await self.velocities()
            accelerations = await self.accelerations() if self.lists("ACC?") else {}
        else:
            speeds = {user: limit.velocity for user, limit in known.items()}
            accelerations = {user: limit.acceleration for user, limit in known.items()}
        return {
            user: self._axis_limits(user, (low[user], high[user]), speeds[user], accelerations)
            for user in self.axes
        }

    def _axis_limits(
        self,
        user: str,
        travel: tuple[float, float],
        speed: float,
        accelerations: Mapping[str, float],
    ) -> AxisLimits:
        axis = self.axes[user]
        low, high = sorted(axis.to_user(end) for end in travel)
        acceleration = axis.acceleration or accelerations.get(user)
        if not acceleration:
            raise ConfigurationError(
                "the controller does not tell its acceleration",
                device=f"{self.name} {user}",
                remedy="give the axis the parameter 'acceleration' (user units per s^2)",
            )
        return AxisLimits(
            low=low if axis.low is None else max(low, axis.low),
            high=high if axis.high is None else min(high, axis.high),
            velocity=axis.velocity or speed,
            acceleration=acceleration,
            unit=self.profile.unit if axis.unit is None else axis.unit,
            settle=axis.settle,
            precision=axis.precision,
        )

    def tolerance(self, user: str) -> float:
        """How far from its target an axis may rest, in user units."""
        axis = self.axes[user]
        return axis.tolerance or self.profile.tolerance * axis.scale

    async def numbers(self, command: str, users: Iterable[str]) -> dict[str, float]:
        """Numbers a query gives for axes, in the controller's units, by user name."""
        ids = {user: self.axes[user].id for user in users}
        values = await self.link.query(
            lambda answer: parse_numbers(answer, ids.values()), command, *ids.values()
        )
        return {user: values[id_] for user, id_ in ids.items()}

    async def flags(self, command: str, users: Iterable[str]) -> dict[str, bool]:
        """States a query gives for axes, by user name."""
        ids = {user: self.axes[user].id for user in users}
        texts = await self.link.query(
            lambda answer: parse_texts(answer, ids.values()), command, *ids.values()
        )
        return {user: texts[id_] == "1" for user, id_ in ids.items()}

    async def positions(self, users: Iterable[str] | None = None) -> dict[str, float]:
        """Where axes are."""
        values = await self.numbers("POS?", self.axes if users is None else users)
        return {user: self.axes[user].to_user(value) for user, value in values.items()}

    async def velocities(self) -> dict[str, float]:
        """Set velocities of all axes."""
        values = await self.numbers("VEL?", self.axes)
        return {user: value * self.axes[user].scale for user, value in values.items()}

    async def accelerations(self) -> dict[str, float]:
        """Set accelerations of all axes; only where ``HLP?`` lists ``ACC?``."""
        values = await self.numbers("ACC?", self.axes)
        return {user: value * self.axes[user].scale for user, value in values.items()}

    async def set_flags(self, command: str, users: Iterable[str]) -> None:
        """Switch something on for axes: ``SVO``, ``RON``."""
        pairs = [word for user in users for word in (self.axes[user].id, 1)]
        await self.link.command(command, *pairs)

    def number(self, user: str) -> int:
        """Number of an axis on the box, from 1: that of its wave generator too."""
        return self._bits[user].bit_length()

    async def moving(self, users: Collection[str]) -> set[str]:
        """Which of the axes are under way."""
        if self.lists("#5"):
            mask = await self.link.query(parse_hex, "#5")
            return {user for user in users if mask & self._bits[user]}
        on_target = await self.flags("ONT?", users)
        return {user for user, there in on_target.items() if not there}

    async def waving(self) -> bool:
        """Whether a wave generator runs."""
        return self.lists("#9") and bool(await self.link.query(parse_hex, "#9"))

    async def pending_error(self) -> int:
        """Code of the last error, which is thereby cleared."""
        return await self.link.query(parse_integer, "ERR?")

    async def set_speeds(self, command: str, values: Mapping[str, float]) -> None:
        """``VEL``, ``ACC`` or ``DEC``: absolute values in user units per s or s^2."""
        await self.link.command(command, *self._speed_words(values))
        if command == "VEL":
            self._speeds.update(values)

    def _speed_words(self, values: Mapping[str, float]) -> list[str | float]:
        return [
            word
            for user, value in values.items()
            for word in (self.axes[user].id, value / self.axes[user].scale)
        ]

    async def move(
        self, targets: Mapping[str, float], speeds: Mapping[str, float] | None = None
    ) -> None:
        """Send axes to `targets` at their set velocities, or at `speeds`; returns at once.

        Speeds go out in one piece with the targets, so they cost no round trip of their own. If
        they are refused the axes are stopped.

        Raises:
            LimitError: a target or speed beyond the limits; nothing moves.
        """
        for user, target in targets.items():
            self.check_travel(user, target)
        pairs = [
            word
            for user, target in targets.items()
            for word in (self.axes[user].id, self.axes[user].to_box(target))
        ]
        self._targets.update(targets)
        if speeds is None:
            await self.link.command("MOV", *pairs)
            return
        for user, speed in speeds.items():
            self.check_velocity(user, speed)
        self._speeds.update(speeds)
        try:
            await self.link.commands(("VEL", *self._speed_words(speeds)), ("MOV", *pairs))
        except FlyscanError:
            with suppress(FlyscanError):  # what went wrong first tells more
                await self.brake(targets)
            raise

    def check_travel(self, user: str, target: float) -> None:
        """Raise LimitError if `target` is outside the travel."""
        self._limits[user].check_travel(f"{self.name} {user}", target)

    def check_velocity(self, user: str, velocity: float) -> None:
        """Raise LimitError if the speed is not above 0 and within the limit."""
        self._limits[user].check_velocity(f"{self.name} {user}", velocity)

    async def go(self, targets: Mapping[str, float], speeds: Mapping[str, float]) -> None:
        """Move axes to `targets` and wait until they rest there; cancelled, it brakes.

        Raises:
            LimitError: a target or speed beyond the limits; nothing moves.
            MotionError: they rest somewhere else.
            WatchdogError: they do not come to rest in time.
        """
        for user, target in targets.items():
            self.check_travel(user, target)
            self.check_velocity(user, speeds[user])
        before = await self.positions(targets)
        try:
            await self.move(targets, speeds)
            await self.arrive(targets, self._time(before, targets, speeds))
        except BaseException:
            # Cancellation included: nothing may stay under way that nobody waits for.
            with suppress(FlyscanError):  # what went wrong first tells more
                await self.brake(targets)
            raise

    def _time(
        self, before: Mapping[str, float], targets: Mapping[str, float], speeds: Mapping[str, float]
    ) -> float:
        return max(
            rest_to_rest(
                targets[user] - before[user], speeds[user], self._limits[user].acceleration
            )
            for user in targets
        )

    async def arrive(self, targets: Mapping[str, float], expected_s: float) -> None:
        """Wait until the axes rest at `targets`, which should take `expected_s` seconds."""
        due = self.clock.now() + expected_s
        await self.rest(targets, expected_s)
        while off := await self.off_target(targets):
            overdue = self.clock.now() - due
            if overdue > MARGIN_S:
                raise await self.failure(off, targets)
            await self.clock.sleep(poll_interval(overdue))

    async def rest(self, users: Collection[str], expected_s: float) -> None:
        """Wait until none of the axes is under way any more.

        Raises:
            WatchdogError: that takes half as long again as expected and two seconds more.
        """
        due = self.clock.now() + expected_s
        while under_way := await self.moving(users):
            remaining = due - self.clock.now()
            if remaining < -MARGIN_S - expected_s / 2:
                raise self.overdue(under_way, expected_s)
            await self.clock.sleep(poll_interval(remaining))

    def overdue(self, users: Collection[str], expected_s: float) -> WatchdogError:
        """The error for axes still under way long after their time."""
        return WatchdogError(
            f"still moving, expected at rest after {expected_s:.3g} s",
            device=f"{self.name} {', '.join(sorted(users))}",
            remedy="check the stage for a collision and its velocity and acceleration settings",
        )

    async def off_target(self, targets: Mapping[str, float]) -> dict[str, float]:
        """Positions of those axes that are not where `targets` says, within tolerance."""
        found = await self.positions(targets)
        return {
            user: position
            for user, position in found.items()
            if abs(position - targets[user]) > self.tolerance(user)
        }

    async def failure(
        self, found: Mapping[str, float], expected: Mapping[str, float]
    ) -> MotionError:
        """What keeps axes from where they should be, asked from the box."""
        user = max(found, key=lambda name: abs(found[name] - expected[name]))
        unit = self._limits[user].unit
        where = f"is at {found[user]:g} {unit}, expected at {expected[user]:g} {unit}"
        code = await self.pending_error()
        servo = await self.flags("SVO?", [user])
        remedy = "check the stage for a collision, its load and its cable"
        if not servo[user]:
            where = f"servo switched off in motion: {where}"
            remedy = f"{remedy}, then run GcsMotion.servo_on()"
        if code and code != STOPPED:
            reason = gcs_error(code, device=self.name, command="motion")
            where, remedy = f"{where}; {reason.problem}", reason.remedy
        elif code:
            where = f"{where}; stopped by another client or a stop command"
        return MotionError(where, device=f"{self.name} {user}", remedy=remedy)

    async def brake(self, users: Collection[str]) -> None:
        """Let axes decelerate to rest, and wait until they do.

        ``HLT`` where the box has it. Otherwise ``MOV`` to a point just ahead, since ``STP``
        and ``#24`` stop the axes of others too.
        """
        if self.lists("HLT"):
            ids = [self.axes[user].id for user in users]
            await self.link.command("HLT", *ids, accept={STOPPED})
            await self.rest(users, max(self._braking_time(user) for user in users))
        else:
            await self._brake_ahead(await self.moving(users))

    async def _brake_ahead(self, under_way: Collection[str]) -> None:
        """Aim at a point far enough ahead that no axis has to turn back.

        It is the same time ahead for all axes, so that a straight line stays one.
        """
        if not under_way:
            return
        asked = self.clock.now()
        here = await self.positions(under_way)
        # The answer's way here and the command's way back.
        latency = 2 * (self.clock.now() - asked)
        ahead = latency + max(self._braking_time(user) for user in under_way)
        stops: dict[str, float] = {}
        for user, position in here.items():
            distance = self._targets.get(user, position) - position
            step = self._speeds.get(user, self._limits[user].velocity) * ahead
            if abs(distance) > step:  # otherwise it comes to rest at its target by itself
                stops[user] = position + (step if distance > 0 else -step)
        if stops:
            await self.move(stops)
        try:
            await self.rest(under_way, 2 * ahead)
        except WatchdogError:  # somebody else steers them: nothing but STP is left
            await self.stop()

    def _braking_time(self, user: str) -> float:
        """Seconds at full speed in which an axis covers its braking distance and its lag."""
        limit = self._limits[user]
        speed = self._speeds.get(user, limit.velocity)
        return _BRAKING_MARGIN * speed / (2 * limit.acceleration) + limit.settle

    async def stop(self) -> None:
        """Stop every axis of the controller at once and wait until they rest."""
        try:
            await self.link.command("STP", accept={STOPPED})
        except BaseException:
            self.link.shout("#24")
            raise
        await self.rest(self.axes, MARGIN_S)
