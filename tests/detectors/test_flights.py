"""A triggered areaDetector camera in one stream with the flyer, over real sockets.

ophyd-async's classes as they are, the simulated PandA's output as trigger cable, SWMR files.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

AT_REST = {"acquiring": False, "capturing": "Done", "cable": "ZERO", "moving": False}
MIDLINE = {"lines": 3, "points": 60}


def described(run: dict[str, Any]) -> int:
    """Frames in documents; contiguous from 0, and the same of camera and rows."""
    cam = run["ranges"]["cam"]
    assert len(run["ranges"]) > 1
    assert all(ranges == cam for ranges in run["ranges"].values())
    ends = [0]
    for start, stop, first_seq_num, after_seq_num in cam:
        assert start == ends[-1]
        assert stop > start
        assert (first_seq_num, after_seq_num) == (start + 1, stop + 1)
        ends.append(stop)
    return ends[-1]


def check_pairs(run: dict[str, Any], frames: int) -> None:
    """Frame i was exposed in the gate of row i: it began with it and saw its pulses."""
    times = np.array(run["frames"]["time"][:frames]) - np.array(run["rows"]["time"][:frames])
    assert len(times) == frames
    assert np.ptp(times) < 1e-5
    pulses, counts = np.array(run["frames"]["sum"][:frames]), np.array(run["rows"]["Fe"][:frames])
    assert np.all(pulses <= counts)
    assert pulses.sum() > 0.5 * counts.sum()


def check_complete(run: dict[str, Any], frames: int) -> None:
    assert (run["error"], run["exit_status"], run["problems"]) == (None, "success", [])
    assert described(run) == len(run["rows"]["time"]) == len(run["frames"]["time"]) == frames
    check_pairs(run, frames)
    check_rest(run)


def check_rest(run: dict[str, Any]) -> None:
    assert {key: run[key] for key in AT_REST} == AT_REST


def test_every_frame_belongs_to_its_row(fly):
    run = fly()
    check_complete(run, 60)
    assert run["warnings"] == []


@pytest.mark.parametrize("pauses", [[3, 25, 130], [59, 60, 61]], ids=str)
def test_pauses_cost_no_frame_and_double_none(fly, pauses):
    check_complete(fly(**MIDLINE, pauses=pauses), 180)


def test_pauses_while_arming_and_in_the_first_line_arm_once(fly):
    check_complete(fly(early=[0.005, 0.02, 0.1, 0.3]), 60)


def test_a_timed_train_ends_before_the_pause(fly):
    check_complete(fly(**MIDLINE, trigger="time", pauses=[20, 80]), 180)


@pytest.mark.parametrize(("end", "status"), [("abort", "abort"), ("stop", "success")])
def test_an_ended_run_describes_all_it_has(fly, end, status):
    run = fly(**MIDLINE, pauses=[20], end=end)
    frames = described(run)
    assert run["exit_status"] == status
    assert 20 <= frames < 180
    assert frames == len(run["rows"]["time"])
    # The stage trembles where it was held: a trigger may come whose row the stop then cuts.
    assert len(run["frames"]["time"]) - frames in (0, 1)
    check_pairs(run, frames)
    check_rest(run)


def test_a_halted_run_describes_a_prefix(fly):
    run = fly(**MIDLINE, pauses=[90], end="halt")
    frames = described(run)
    rows = len(run["rows"]["time"])
    assert 0 < frames <= rows
    assert len(run["frames"]["time"]) - rows in (0, 1)
    check_pairs(run, rows)
    check_rest(run)


def test_flights_of_one_run_go_on_counting(fly):
    check_complete(fly(flights=2, lines=2), 60)


def failed(run: dict[str, Any], text: str, error: str = "LedgerError") -> None:
    """The run failed of the camera, no later than the line after the one concerned began."""
    assert run["exit_status"] == "fail"
    assert run["error"] == f"{error}: {run['reason']}"
    assert text in run["reason"]
    described(run)
    check_rest(run)


def test_a_dropped_frame_is_named_before_the_next_line(fly):
    run = fly(faults=[{"kind": "dropped_frame", "at": 20}])
    failed(run, "cam: segment 1: 14 of 15 frames came within 5 s of the last trigger. Remedy: a")
    assert len(run["rows"]["time"]) == 30


@pytest.mark.parametrize("at", [20, 59])
def test_an_extra_frame_is_named_before_the_next_line(fly, at):
    run = fly(faults=[{"kind": "extra_frame", "at": at}])
    line = at // 15
    failed(run, f"cam: segment {line}: 16 frames for 15 triggers. Remedy: look for noise")
    assert len(run["rows"]["time"]) == 15 * (line + 1)


@pytest.mark.parametrize(("at", "which"), [(20, "triggers 20 to 21"), (59, "trigger 59")])
def test_a_trigger_without_a_row_ends_the_flight(fly, at, which):
    """The camera may have seen it: frames would not be those of the rows any more."""
    run = fly(faults=[{"kind": "lost_trigger", "at": at}])
    said = f"panda: {which} of the flight made no row, so that rows and frames of cam would not"
    failed(run, said, "CaptureError")
    check_pairs(run, described(run))


def test_the_next_line_waits_for_late_frames_and_the_log_says_so(fly):
    run = fly(faults=[{"kind": "late_frame", "at": 20, "delay": 1.5}])
    check_complete(run, 60)
    (warning,) = run["warnings"]
    assert warning.startswith("cam: frames of segment 1 came 1.")
    assert warning.endswith(" s late")


def test_faults_of_different_lines_do_not_cancel(fly):
    run = fly(faults=[{"kind": "extra_frame", "at": 0}, {"kind": "dropped_frame", "at": 29}])
    failed(run, "cam: segment 0: 16 frames for 15 triggers")


def test_exposure_and_dead_time_bound_the_speed(fly):
    run = fly(exposure=0.0045)
    assert run["exit_status"] == "fail"
    assert run["error"] == (
        "LimitError: cam: a period of 0.005 s is shorter than exposure and dead time, "
        "0.0045 s + 0.000726 s. Remedy: use a period above 0.005226 s, or a shorter exposure"
    )
    assert run["ranges"] == {}
    assert run["rows"] is None
    check_rest(run)
    check_complete(fly(exposure=0.004, lines=2), 30)


def test_a_detector_without_trigger_input_is_refused(fly):
    run = fly(detector="free")
    assert run["error"] == (
        "ConfigurationError: free: cannot be triggered by an edge, only INTERNAL. "
        "Remedy: fly with a detector class that supports EXTERNAL_EDGE"
    )
    assert run["rows"] is None
    check_rest(run)


def test_the_camera_also_works_in_step_scans(session):
    run = session(do="count", num=3)
    assert (run["error"], run["exit_status"]) == (None, "success")
    assert len(run["frames"]["sum"]) == 3
    assert min(run["frames"]["sum"]) > 0
    assert not run["acquiring"]
