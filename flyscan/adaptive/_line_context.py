"""A line as a policy sees it, from what the flight knows of its boxes."""

from __future__ import annotations

from ..flight import Scene, Segment, Trigger
from ._policy import LineContext

__all__ = ["line_context"]

FASTER = 100.0
"""No line is flown more than this many times as fast as planned ..."""

SLOWER = 0.01
"""... or as slowly as this share of it, whatever its boxes can do."""


def line_context(line: Segment, scene: Scene, latency: float, extra: float) -> LineContext:
    """What a policy is told of a straight line before it begins.

    Args:
        line: as the path has it.
        scene: limits and abilities.
        latency: measured seconds from the end of a block to a command taking effect.
        extra: seconds the line may take beyond the uniform one.

    Raises:
        ConfigurationError: the limits leave no speed or period for it.
    """
    axis = line.fast or ""
    limit = scene.limits[axis]
    speed = abs(line.velocity[axis])
    timed = line.trigger is Trigger.TIME
    motion, capture = scene.motion, scene.capture
    live = capture.live_share * line.period
    shortest = line.period if timed else max(capture.min_period, live, 1e-9)
    top = limit.velocity
    for other, velocity in line.velocity.items():  # axes moved in step bound the fast one
        if velocity and other != axis:
            top = min(top, scene.limits[other].velocity * speed / abs(velocity))
    return LineContext(
        segment=line.index,
        start=line.start[axis],
        stop=line.stop[axis],
        velocity=speed,
        v_min=min(speed, top) * SLOWER,
        v_max=max(speed, min(top, FASTER * speed)),
        acceleration=min(
            scene.limits[a].acceleration * speed / abs(v) for a, v in line.velocity.items() if v
        ),
        period=line.period,
        min_period=min(shortest, line.period),
        max_period=line.period if timed else line.period / SLOWER,
        trigger=line.trigger.value,
        latency=latency,
        block_period=capture.block_period,
        turnaround=limit.settle,
        extra_time=extra,
        channels=scene.channels,
        velocity_in_flight=motion.velocity_in_flight,
        profile_pieces=motion.profile_pieces if motion.profiles else 0,
        step_in_flight=capture.step_in_flight and not timed,
        goes_back=True,
        rests={
            channel: line.start[a]
            for a, channel in scene.positions.items()
            if not line.velocity.get(a, 1)
        },
    )
