"""Nonsense proposed a million times: what the guard rail lets through stays within limits."""

from __future__ import annotations

import numpy as np

from flyscan.adaptive import (
    GoBack,
    GuardRail,
    LineContext,
    Plan,
    Profile,
    Proposal,
    Retune,
    Situation,
)

from ._lines import context

__all__ = ["fuzzed", "fuzzed_figures"]

ODD = (np.nan, np.inf, -np.inf, 0.0, -1.0)
LINES = 200
TRAVEL = (-0.3, 1.3)
MAX_RAISE = 1.5
STALE = 0.05
SLACK = 1e-6


def fuzzed(decisions: int, seed: int) -> tuple[int, int, int]:
    """How many proposals were made, how many allowed, and how many of these broke a limit."""
    rng = np.random.default_rng((991, seed))
    rail = GuardRail(*TRAVEL, max_raise=MAX_RAISE, stale_after=STALE)
    allowed = broken = 0
    for number in range(decisions):
        if number % (decisions // LINES + 1) == 0:
            line = _line(rng)
        now = _moment(rng, line)
        proposal = _proposal(rng, line)
        if isinstance(proposal, Plan):
            profile = rail.check_plan(proposal, line)[0].profile
            allowed += profile is not None
            broken += profile is not None and not _flyable(profile, line)
            continue
        ruling = rail.check(proposal, now, line)
        allowed += ruling.allowed is not None
        broken += ruling.allowed is not None and not _within(ruling.allowed, now, line)
    return decisions, allowed, broken


def fuzzed_figures(found: list[tuple[int, int, int]]) -> dict[str, int]:
    """Sums."""
    made, allowed, broken = np.sum(found, axis=0).tolist()
    return {
        "fuzzed_decisions": made,
        "fuzzed_decisions_allowed": allowed,
        "fuzzed_decisions_outside_limits": broken,
    }


def _line(rng: np.random.Generator) -> LineContext:
    v_min, v_max = np.sort(np.exp(rng.uniform(-4, 3, 2))).tolist()
    period = float(np.exp(rng.uniform(-8, -3)))
    ends = (0.0, 1.0) if rng.random() < 0.5 else (1.0, 0.0)
    return context(
        1000, start=ends[0], stop=ends[1], v_min=v_min, v_max=v_max, period=period,
        velocity=float(rng.uniform(v_min, v_max)), acceleration=float(np.exp(rng.uniform(-2, 8))),
        min_period=period * float(rng.uniform(0.1, 1)),
        max_period=period * float(rng.uniform(1, 50)),
        trigger="time" if rng.random() < 0.5 else "position", step_in_flight=rng.random() < 0.7,
        velocity_in_flight=rng.random() < 0.8, goes_back=rng.random() < 0.8,
        latency=float(rng.uniform(0, 20)) * period,
        profile_pieces=None if rng.random() < 0.7 else 20,
    )  # fmt: skip


def _moment(rng: np.random.Generator, line: LineContext) -> Situation:
    velocity = rng.uniform(line.v_min, line.v_max)
    return Situation(
        time=1.0, position=rng.uniform(-0.1, 1.1), velocity=velocity,
        step=velocity * rng.uniform(line.min_period, line.max_period), block=1,
        age=float(np.exp(rng.uniform(-10, 3))), at_end=rng.random() < 0.05,
        held=rng.random() < 0.05,
    )  # fmt: skip


def _number(rng: np.random.Generator, scale: float) -> float | None:
    kind = rng.integers(0, 12)
    if kind == 11:
        return None
    return float(ODD[kind]) if kind < len(ODD) else scale * float(np.exp(rng.normal(0, 3)))


def _proposal(rng: np.random.Generator, line: LineContext) -> Proposal | Plan:
    kind = rng.integers(0, 8)
    if kind > 1:
        step = line.velocity * line.period
        return Retune("fuzz", _number(rng, line.velocity), _number(rng, step))
    nodes = int(rng.integers(2, 30))
    ends = (line.start, line.stop) if rng.random() < 0.5 else rng.uniform(-0.2, 1.2, 2).tolist()
    spread = rng.choice([0.0, 0.01, 1.0])
    speed = np.exp(rng.uniform(np.log(line.v_min) - 0.3, np.log(line.v_max) + 0.3))
    speeds = speed * np.exp(spread * np.cumsum(rng.normal(0, 1, nodes)))
    profile = Profile.of(np.linspace(*ends, nodes), np.clip(speeds, 1e-9, 1e9))
    if kind:
        return Plan(profile, "fuzz", gain=2.0)
    return GoBack("fuzz", profile.position[0], profile.position[-1], profile)


def _within(allowed: Proposal, now: Situation, line: LineContext) -> bool:
    if isinstance(allowed, GoBack):
        inside = all(-SLACK <= x <= 1 + SLACK for x in (allowed.start, allowed.stop))
        return inside and line.goes_back and _flyable(allowed.profile, line)
    if not isinstance(allowed, Retune):
        return False
    v = now.velocity if allowed.velocity is None else allowed.velocity
    s = now.step if allowed.step is None else allowed.step
    if not (np.isfinite(v) and np.isfinite(s) and v > 0 and s > 0):
        return False
    sound = line.v_min * (1 - SLACK) <= v <= line.v_max * (1 + SLACK)
    highest = now.velocity * (1.0 if now.age > STALE else MAX_RAISE)
    sound &= v <= highest * (1 + SLACK)
    if line.trigger == "position":
        sound &= line.min_period * (1 - SLACK) <= s / v <= line.max_period * (1 + SLACK)
    return sound


def _flyable(profile: Profile, line: LineContext) -> bool:
    """Written out again, not the guard rail's own check."""
    v, x = np.asarray(profile.velocity), np.asarray(profile.position)
    top = line.v_max
    if line.trigger == "position":
        top = min(top, line.velocity * line.period / line.min_period)
    a = np.abs(np.diff(v**2)) / (2 * np.abs(np.diff(x)))
    run = max(v[0], v[-1]) ** 2 / (2 * line.acceleration)
    return bool(
        v.min() >= line.v_min * (1 - 1e-5)
        and v.max() <= top * (1 + 1e-5)
        and a.max() <= line.acceleration * 1.01
        and x.min() - run >= TRAVEL[0] - SLACK
        and x.max() + run <= TRAVEL[1] + SLACK
    )
