"""Rows shorter than the stage trembles: nothing is lost, and no policy is switched off."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from flyscan.adaptive import Parametric, PriorSpeed
from flyscan.adaptive._line import LineRecord
from flyscan.adaptive._rows import advancing, sampled
from flyscan.errors import CaptureError
from tests.adaptive.lines import line, rows

STEP = 4e-5
"""A fiftieth of a uniform row."""


def trembling(number: int, seed: int = 1, jitter: float = 1.5 * STEP, grain: float = STEP):
    """Rows that creep forwards, seen by an encoder that shows whole grains."""
    rng = np.random.default_rng(seed)
    calm = rows(number, counts=rng.poisson(200.0, number).astype(float))
    ends = STEP * np.arange(number + 1.0)
    seen = np.stack((ends[:-1], ends[1:])) + rng.normal(0.0, jitter, (2, number))
    low, high = np.sort(np.rint(seen / grain) * grain, axis=0)
    return dataclasses.replace(calm, start=low, stop=high)


def test_such_rows_overlap_and_stand_still():
    shaken = trembling(400)
    assert np.any(shaken.stop == shaken.start)
    assert np.any(np.diff(shaken.start) < 0)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1000), st.floats(0.0, 4.0), st.integers(3, 300))
@example(21, 0.15625, 218)  # starts ascend, but a row reaches into the next
@example(1, 0.1875, 138)  # and here one stands still
def test_every_count_stays(seed, jitter, number):
    shaken = trembling(number, seed, jitter * STEP)
    curve = sampled(shaken, "y")
    if curve is None:
        assert number < 60
        return
    assert np.all(np.diff(curve.edges) > 0)
    spent = np.round(curve.rate / 200.0, 12)
    assert np.all(spent > 0)
    seconds = shaken.live.sum()
    assert np.average(curve.rate) == pytest.approx(200.0 / shaken.live[0], rel=0.5)
    record = LineRecord(line(), ("y",))
    forward = record.add(shaken) if number >= 16 and jitter < 2 else None
    if forward is not None:
        assert forward.live.sum() == pytest.approx(seconds)
        assert forward.counts["y"].sum() == shaken.counts["y"].sum()
        assert np.all(forward.stop > forward.start)
        assert np.all(forward.start[1:] >= forward.stop[:-1])


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=30))
def test_groups_of_rows_ascend_and_leave_nothing_out(edges):
    ends = np.array(edges)
    first = advancing(ends)
    if len(first):
        assert first[0] == 0
        assert np.all(np.diff(np.append(ends[first], ends.max())) > 0)
    else:
        assert np.all(ends <= ends[0])


def test_rows_in_order_are_left_as_they_are():
    calm = rows(50)
    record = LineRecord(line(), ("y",))
    forward = record.add(calm)
    assert forward.start.tolist() == calm.start.tolist()
    assert forward.stop.tolist() == calm.stop.tolist()


def test_blocks_of_such_rows_join():
    record, shaken = LineRecord(line(), ("y",)), trembling(600)
    parts = [record.add(shaken.take(np.arange(i, i + 50))) for i in range(0, 600, 50)]
    ends = np.concatenate([np.stack((p.start, p.stop), axis=1).ravel() for p in parts])
    assert np.all(np.diff(ends) >= 0)


def test_a_stage_that_stands_still_is_noticed():
    record, still = LineRecord(line(), ("y",)), trembling(60, jitter=0.0)
    still = dataclasses.replace(still, start=still.start * 0, stop=still.stop * 0)
    with pytest.raises(CaptureError, match="stand still"):
        record.add(still)


@pytest.mark.parametrize(
    "policy", [PriorSpeed("y", 0.01), Parametric("y", "peak", target="centre")]
)
def test_policies_take_them(policy):
    policy.begin(line())
    for i in range(0, 1000, 50):
        policy.tell(trembling(1000).take(np.arange(i, i + 50)))
    policy.begin(line())
