"""Rows for policies, made from frames."""

from __future__ import annotations

import numpy as np

from flyscan.adaptive._rows_of import rows_in
from flyscan.flight import Block, Frames, RowFacts


def frames() -> Frames:
    """Five frames from number 40 on, two of them of the next segment."""
    ramp = np.arange(5.0)
    return Frames(
        40,
        0,
        np.arange(100, 105),
        np.array([6, 6, 6, 7, 7]),
        Block(0, np.arange(5), np.full(5, 0.8), {"x": 10 + ramp, "Fe": np.arange(5, 10)}),
        {},
        RowFacts(ramp, ramp + 1, np.ones(5), np.ones(5), np.zeros(5, np.int64)),
    )


def test_rows_are_cut_where_the_segment_changes():
    first, second = rows_in(frames(), np.arange(5.0), lambda segment: segment == 7, flux=True)
    assert (first.first, second.first) == (40, 43)
    np.testing.assert_array_equal(first.point, [100, 101, 102])
    np.testing.assert_array_equal(second.point, [103, 104])
    np.testing.assert_array_equal(second.start, [3, 4])
    np.testing.assert_array_equal(second.signals["Fe"], [8, 9])
    np.testing.assert_array_equal(second.time, [3, 4])
    assert first.good is None or first.good.all()
    assert second.good is not None
    assert not second.good.any(), "of another line than the policy flies"


def test_what_a_policy_does_to_its_rows_is_not_done_to_what_is_stored():
    ours, untouched = frames(), frames()
    time = np.arange(5.0)
    for rows in rows_in(ours, time, lambda _: False, flux=True):
        for array in (rows.point, rows.start, rows.stop, rows.time, rows.live, rows.i0):
            array[:] = -1
        for signal in rows.signals.values():
            signal[:] = -1
    np.testing.assert_array_equal(time, np.arange(5.0))
    np.testing.assert_array_equal(ours.point, untouched.point)
    np.testing.assert_array_equal(ours.block.exposure, untouched.block.exposure)
    for name, column in untouched.block.columns.items():
        np.testing.assert_array_equal(ours.block.columns[name], column)
    assert ours.facts is not None
    assert untouched.facts is not None
    np.testing.assert_array_equal(ours.facts.start, untouched.facts.start)
