"""Preview rows stand where frames were taken."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from flyscan.flight import Block, Channel, Frames
from flyscan.flight._preview import PreviewSampler

CHANNELS = (Channel("x", unit="um", axis="x"), Channel("spectrum", shape=(4,)))
MS = 1_000_000


def frames(first: int, segment: list[int], x: list[float]) -> Frames:
    """Frames a millisecond apart."""
    count = len(x)
    block = Block(
        first=first,
        time_ns=np.arange(first, first + count, dtype=np.int64) * MS,
        exposure=np.full(count, 1e-3),
        columns={"x": np.array(x), "spectrum": np.zeros((count, 4))},
    )
    return Frames(
        first_frame=first,
        flight=0,
        point=np.arange(first, first + count, dtype=np.int64),
        segment=np.array(segment, dtype=np.int64),
        block=block,
    )


def test_a_row_averages_the_frames_since_the_row_before() -> None:
    sampler = PreviewSampler(CHANNELS, period=0.004)

    first = sampler.add(frames(0, [0], [1.0]))
    assert sampler.add(frames(1, [0, 0], [2.0, 3.0])) is None
    second = sampler.add(frames(3, [0, 0], [4.0, 5.0]))

    assert first == {"frame": 0, "point": 0, "time": 0.0, "x": 1.0}
    assert second == {"frame": 4, "point": 4, "time": 0.004, "x": 3.5}


def test_a_row_does_not_average_across_a_turnaround() -> None:
    sampler = PreviewSampler(CHANNELS, period=1.0)
    sampler.add(frames(0, [0], [0.0]))

    sampler.add(frames(1, [0, 0], [9.0, 10.0]))
    sampler.add(frames(3, [0, 1, 1], [11.0, 0.0, 1.0]))
    row = sampler.finish()

    assert row is not None
    assert row["frame"] == 5
    assert row["x"] == 0.5


def test_a_segment_flown_again_begins_anew() -> None:
    sampler = PreviewSampler(CHANNELS, period=1.0)
    sampler.add(frames(0, [0], [0.0]))

    sampler.add(frames(1, [0], [100.0]))
    sampler.add(frames(2, [1], [50.0]))
    sampler.add(frames(3, [0, 0], [2.0, 4.0]))
    row = sampler.finish()

    assert row is not None
    assert row["x"] == 3.0


def test_whole_numbers_are_averaged_without_overflow() -> None:
    sampler = PreviewSampler((Channel("n", "<i4"),), period=1.0)
    taken = frames(0, [0, 0], [0.0, 1.0])
    counts = {"n": np.array([2**31 - 1, 2**31 - 3], np.int32)}
    row = sampler.add(replace(taken, block=replace(taken.block, columns=counts)))

    assert row is not None
    assert row["n"] == 2**31 - 2


def test_nothing_pending_makes_no_row() -> None:
    assert PreviewSampler(CHANNELS, period=1.0).finish() is None
