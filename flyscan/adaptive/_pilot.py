"""The pilot: drives a policy from the blocks of a flight and carries out what it decides."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from ..errors import ConfigurationError, LimitError
from ..flight import Clock, Frames, Helm, Pilot, Segment, Steered
from ._composite import policy_from_dict, require_allowed
from ._line_context import line_context
from ._policy import (
    Finish,
    Flag,
    GoBack,
    Hold,
    LineContext,
    Plan,
    Policy,
    Resume,
    Retune,
    Situation,
)
from ._rails import GuardRail
from ._replay import Asked, Began, Ended, Event, SwitchedOff, Told
from ._rows import Rows
from ._rows_of import rows_in
from ._seat import LocalSeat, Seat
from ._shape import detour, profiled
from ._steering import Decision, Steering
from ._steering_config import SteeringConfig
from ._worker_seat import WorkerSeat

__all__ = ["AdaptivePilot"]

HELD_PERIOD = 0.1
MOST_QUESTIONS = 50
MOST_WAITING = 1000
LATENCY_GUESS = 0.01


class AdaptivePilot(Pilot):
    """Asks a policy before every line, after every block, while held and at the end of a line.

    Every call and every answer is noted in the run's file, in order, so that the same calls can
    be made again later. A policy that raises or takes too long is switched off; the flight goes
    on uniformly.

    Args:
        config: the policy and its bounds.
        helm: of the flight.
        clock: time for waiting.
        policy: used instead of the configured one.
    """

    def __init__(
        self, config: SteeringConfig, helm: Helm, clock: Clock, policy: Policy | None = None
    ) -> None:
        self._config = config
        self._policy = policy or policy_from_dict(config.policy)
        self._helm = helm
        self._clock = clock
        self._seat: Seat | None = None
        self._inbox: list[tuple[Rows, float]] = []
        self._bell = asyncio.Event()
        self._news = False
        self._turn = asyncio.Lock()
        self._line: Segment | None = None
        self._context: LineContext | None = None
        self._plan: Plan | None = None
        self._blocks = 0
        self._returns = 0
        self._newest: Rows | None = None
        self._arrived = 0.0
        self._latency = max(helm.scene.motion.horizon, LATENCY_GUESS)
        self._began: float | None = None
        self._holding = False
        self._braking = (0.0, 0.0)
        self._uniform = 0.0

    @classmethod
    def configured(
        cls, config: Mapping[str, Any], clock: Clock, policies: Collection[str]
    ) -> Callable[[int], Steered]:
        """How the flights of a host are steered.

        Args:
            config: fields of :class:`SteeringConfig`.
            clock: the host's.
            policies: class paths of policies that may be loaded beside our own.

        Raises:
            ConfigurationError: the configuration makes no sense, or names other classes.
        """
        settings = SteeringConfig.from_dict(config)
        require_allowed(settings.policy, policies)
        policy_from_dict(settings.policy)

        def steered(epoch_ns: int) -> Steered:
            return Steered(
                lambda helm: cls(settings, helm, clock), settings.i0, settings.nominal_i0, epoch_ns
            )

        return steered

    # --- before the flight -----------------------------------------------------------------

    async def open(self) -> None:
        """Check path, channels and policy; nothing has moved.

        Raises:
            ConfigurationError: what cannot be steered, and why.
        """
        scene = self._helm.scene
        policy = self._policy
        wanted = {c for c in (self._config.i0, *policy.needed_channels()) if c is not None}
        if missing := sorted(wanted - set(scene.channels)):
            raise ConfigurationError(
                f"the flight has no channel {', '.join(missing)}; it has "
                f"{', '.join(scene.channels)}",
                device="steering",
                remedy="name channels that the capture delivers",
            )
        first = self._suitable(scene.path.segment(0), scene.path.first_curve())
        self._uniform = sum(scene.path.times(scene.limits))
        limit = scene.limits[first]
        rail = GuardRail(limit.low, limit.high, max_raise=self._config.max_raise)
        self._seat = self._seat_of(policy, rail)
        await self._seat.open()
        self._helm.note(
            {
                "event": "started",
                "policy": policy.to_dict(),
                "rail": asdict(rail),
                "time": self._helm.now(),
            }
        )

    def _seat_of(self, policy: Policy, rail: GuardRail) -> Seat:
        if self._config.worker:
            return WorkerSeat(policy.to_dict(), rail, self._config.patience)
        return LocalSeat(Steering(policy, rail), self._config.patience)

    def _suitable(self, first: Segment, curve: Segment | None) -> str:
        """The fast axis.

        Raises:
            ConfigurationError: the path has curves or dwells, or nobody reports the position.
        """
        what = "curves" if curve is not None else "dwells" if first.fast is None else ""
        if what or first.fast is None:
            raise ConfigurationError(
                f"the path has {what}; only straight lines can be steered",
                device="steering",
                remedy="fly it with fly(), or along straight lines",
            )
        if first.fast not in self._helm.scene.positions:
            raise ConfigurationError(
                f"no channel reports the position of {first.fast}",
                device="steering",
                remedy="wire its encoder to the capture and add it to the configuration",
            )
        return first.fast

    # --- lines -----------------------------------------------------------------------------

    async def begin(self, line: Segment) -> Segment:
        async with self._turn:
            await self._tell()
            now = self._helm.now()
            self._began = now if self._began is None else self._began
            self._line, self._context, self._plan, self._returns = line, None, None, 0
            if self._off or line.fast is None or line.curved:
                return line
            context = self._context = line_context(
                line, self._helm.scene, self._latency, self._extra(line)
            )
            plan = self._plan = await self._sure.begin(context, now)
            self._called(Began(context, now))
            planned = line
            if plan.profile is not None and self._helm.scene.motion.profiles:
                planned = profiled(line, plan.profile)
            why = "" if planned is line else self._helm.fits(planned)
            if why:
                self._plan, planned = None, line
            for decision in self._sure.fresh():
                self._decided(decision)
                self._applied(decision, line.first_point, 0.0, refused=why)
            return planned

    def _extra(self, line: Segment) -> float:
        """Seconds the line may take beyond the uniform one."""
        extra = self._config.extra * line.duration
        left = self._time_left()
        if left is None:
            return extra
        scene = self._helm.scene
        uniform = self._uniform * (1 - line.first_point / scene.path.points)
        last_rows = scene.capture.block_period * (scene.path.segment_count - line.index)
        return min(extra, max(0.0, left - uniform - last_rows))

    def _time_left(self) -> float | None:
        limit = self._config.time_limit
        if limit is None or self._began is None:
            return limit
        return limit - (self._helm.now() - self._began)

    async def end(self) -> None:
        left = MOST_QUESTIONS
        while left:
            await self._helm.clearance()  # who holds may still ask for more of the line
            async with self._turn:
                await self._tell()
                context = self._context
                if context is None or self._off:
                    return
                if self._helm.held:
                    continue
                decision = await self._ask(context, at_end=True)
                if decision is not None and await self._act(decision, context, at_end=True):
                    return  # there is more of the line
                over = decision is None or isinstance(decision.proposal, Finish)
                left = 0 if over else left - 1
                if not left:
                    self._called(Ended(await self._sure.end(self._helm.now())))
                    self._switched_off()
                    self._context = None

    # --- blocks ----------------------------------------------------------------------------

    def take(self, frames: Frames) -> None:
        if not len(frames) or self._helm.reflying:
            return  # what stands for nothing tells nobody anything
        arrived = self._clock.now()
        self._inbox.extend((rows, arrived) for rows in self._rows(frames))
        if len(self._inbox) > MOST_WAITING and not self._off:
            behind = f"it is {len(self._inbox)} blocks behind"
            self._sure.switch_off(behind, self._helm.now())
        self._news = True
        self._bell.set()

    def _rows(self, frames: Frames) -> Iterator[Rows]:
        return rows_in(
            frames,
            self._helm.row_seconds(frames),
            lambda segment: self._line is None or self._helm.line_of(segment) != self._line.index,
            flux=self._config.i0 is not None,
        )

    async def _tell(self) -> None:
        """Hand over what came."""
        inbox, self._inbox = self._inbox, []
        for rows, arrived in inbox:
            self._newest, self._arrived = rows, arrived
            self._blocks += 1
            if self._off or self._context is None:
                continue
            now = self._helm.now()
            await self._sure.tell(rows, now)
            self._called(Told(rows, now))
        self._switched_off()

    async def steer(self) -> None:
        while True:
            news = await self._wait()
            async with self._turn:
                await self._tell()
                context = self._context
                if context is None or self._off:
                    continue
                if not self._helm.held and (self._helm.line is None or not news):
                    continue
                for _ in range(MOST_QUESTIONS):
                    decision = await self._ask(context)
                    if decision is None:
                        break
                    await self._act(decision, context)
                    if not isinstance(decision.proposal, Flag):  # which moves nothing: go on
                        break

    async def _wait(self) -> bool:
        """Wait for news, but not for longer than monitors may be left alone while held."""
        timer = asyncio.ensure_future(self._ring())
        try:
            await self._bell.wait()
        finally:
            timer.cancel()  # which takes a turn of the loop: the answer does not wait for it
        news, self._news = self._news, False
        self._bell.clear()
        return news

    async def _ring(self) -> None:
        await self._clock.sleep(HELD_PERIOD)
        self._bell.set()

    # --- questions and answers -------------------------------------------------------------

    async def _ask(self, context: LineContext, *, at_end: bool = False) -> Decision | None:
        now = self._situation(context, at_end)
        decision = await self._sure.ask(now)
        self._called(Asked(now))
        for fresh in self._sure.fresh():
            self._decided(fresh)
            if decision is None or fresh.proposal is None:
                self._applied(fresh, None, 0.0)
        self._switched_off()
        return decision

    def _situation(self, context: LineContext, at_end: bool) -> Situation:
        newest, age = self._newest, 0.0
        position = context.start
        velocity = self._speed(position, context)
        if newest is not None and len(newest):
            position = float(newest.stop[-1])
            velocity = self._speed(position, context)
            if not at_end and not self._helm.held:
                age = max(0.0, self._clock.now() - self._arrived)
                position += context.direction * velocity * age
        ends = sorted((context.start, context.stop))
        position = min(max(position, ends[0]), ends[1]) if np.isfinite(position) else context.start
        step = velocity * context.period if context.trigger == "time" else self._step(context)
        return Situation(
            time=self._helm.now(),
            position=position,
            velocity=velocity,
            step=step,
            block=self._blocks,
            next_point=self._helm.next_point,
            age=age,
            at_end=at_end,
            held=self._helm.held,
            time_left=self._time_left(),
            monitors=self._helm.monitors(),
        )

    def _speed(self, position: float, context: LineContext) -> float:
        """Commanded speed at a position, or what the stage still has of an earlier one."""
        profile = None if self._plan is None else self._plan.profile
        if profile is not None and self._profiled:
            return float(profile.at(np.array([position]))[0])
        commanded = self._planned(context)[0] * self._helm.pace
        speed, since = self._braking
        return max(commanded, speed - context.acceleration * (self._clock.now() - since))

    @property
    def _profiled(self) -> bool:
        """Whether the line, or the part of it under way, is flown by a profile of speeds."""
        under_way = self._helm.line
        if under_way is not None:
            return under_way.curved
        plan = self._plan
        return plan is not None and plan.profile is not None and self._helm.scene.motion.profiles

    def _planned(self, context: LineContext) -> tuple[float, float]:
        """Speed and step from which changes in flight count."""
        under_way, line = self._helm.line, self._line
        if under_way is None or line is None:
            return context.velocity, context.velocity * context.period
        return abs(under_way.velocity[line.fast or ""]), abs(under_way.step)

    def _step(self, context: LineContext) -> float:
        return self._planned(context)[1] * self._helm.stride

    async def _act(self, decision: Decision, context: LineContext, *, at_end: bool = False) -> bool:
        """Carry out a decision; True if there is more of the line to fly for it."""
        proposal, began = decision.proposal, self._clock.now()
        if proposal is None:
            return False
        point, refused, more = self._helm.next_point, "", False
        if isinstance(proposal, Retune):
            changed, refused = await self._retune(proposal, context)
            point = point if changed is None else changed
        elif isinstance(proposal, GoBack):
            refused = self._go_back(proposal)
            more = not refused
        elif isinstance(proposal, Hold):
            self._holding = True
            more = await self._helm.hold(proposal.refly_from)
            if more:
                self._inbox.clear()
        elif isinstance(proposal, Resume):
            self._release()
        elif isinstance(proposal, Flag):
            self._helm.flag(proposal.first, proposal.stop)
        elif isinstance(proposal, Finish) and self._line is not None:
            self._finish(self._line, line_only=proposal.line_only)
        latency = self._clock.now() - (began if at_end else self._arrived)
        self._applied(decision, None if refused else point, latency, refused=refused)
        return more

    async def _retune(self, proposal: Retune, context: LineContext) -> tuple[int | None, str]:
        """The first point flown so, or why it was not done."""
        under_way = self._helm.line
        if self._profiled:
            return None, "the line is flown by its profile"
        if under_way is not None and self._helm.pass_of(under_way.index):
            return None, "a part of the line is being flown again"
        velocity, step = self._planned(context)
        pace = None if proposal.velocity is None else proposal.velocity / velocity
        stride = None if proposal.step is None else proposal.step / step
        speed = self._speed(0.0, context)
        try:
            point = await self._helm.retune(pace, stride)
        except (LimitError, ConfigurationError) as refusal:  # the box knows better what it can
            return None, str(refusal)
        if point is None:
            return None, "the sweep was over"
        self._braking = speed, self._clock.now()
        took = self._clock.now() - self._arrived
        self._latency = max(0.5 * self._latency, took) + self._helm.scene.motion.horizon
        return point, ""

    def _finish(self, line: Segment, *, line_only: bool) -> None:
        self._helm.finish(line.index if line_only else None)
        if not line_only:
            self._release()  # nothing is left to hold for

    def _release(self) -> None:
        if self._holding:
            self._holding = False
            self._helm.release()

    def _go_back(self, proposal: GoBack) -> str:
        line = self._line
        if line is None:
            return "the line is over"
        again = detour(line, proposal.profile, uniform=not self._helm.scene.motion.profiles)
        refused = self._helm.fits(again)
        if not refused:
            self._returns += 1
            self._helm.detour(again, line.index, self._returns)
        return refused

    # --- the record ------------------------------------------------------------------------

    @property
    def _sure(self) -> Seat:
        if self._seat is None:
            raise ConfigurationError("was not opened", device="steering")
        return self._seat

    @property
    def _off(self) -> bool:
        return self._seat is None or self._seat.fault is not None

    def _switched_off(self) -> None:
        """A policy that was switched off leaves nothing held."""
        for decision in self._sure.fresh():
            self._decided(decision)
            self._applied(decision, None, 0.0)
        if self._off:
            self._release()

    def _called(self, event: Event) -> None:
        """Note a call of the policy, unless it never answered."""
        if self._sure.answered:
            self._helm.note(event.to_dict())

    def _decided(self, decision: Decision) -> None:
        if decision.cause == "late":
            self._helm.note(SwitchedOff(self._sure.fault or "", decision.time).to_dict())
        self._helm.note({"event": "decided", "decision": decision.to_dict()})

    def _applied(
        self, decision: Decision, point: int | None, latency: float, *, refused: str = ""
    ) -> None:
        """Note what became of a decision, and tell the client."""
        record = {
            "event": "applied",
            "number": decision.number,
            "effective_point": point,
            "latency": latency,
        }
        self._helm.note(record | ({"refused": refused} if refused else {}))
        reason = f"{decision.reason}; not done: {refused}" if refused else decision.reason
        row = decision.to_dict() | {
            "effective_point": point,
            "latency": latency,
            "reason": reason,
            "applied": None if refused else decision.applied,
        }
        self._helm.report(row)

    async def close(self) -> None:
        async with self._turn:
            await self._tell()
            if self._seat is not None:
                await self._seat.close()
