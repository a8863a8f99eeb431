"""bluesky-queueserver runs flights from its queue: JSON arguments, pause, resume, abort."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from scanspec.specs import Fly, Linspace

from flyscan.storage import CheckReport, check_file
from tests.consumers.queue_manager import Queue, serve_queue

MAP = ["nano", "y", 45, 55, 11, "x", 40, 60, 101]
POINTS = 11 * 101
PERIOD = 0.001


@pytest.fixture(scope="module")
def queue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Queue]:
    """A manager with the simulated nanoprobe's flyer in its environment."""
    with serve_queue(tmp_path_factory.mktemp("queue")) as queue:
        queue.ask("environment_open")
        queue.until(manager_state="idle")
        assert queue.ask("status")["worker_environment_exists"], queue.log()
        yield queue
        queue.ask("environment_close")
        queue.until(worker_environment_exists=False, manager_state="idle")


def check(queue: Queue, uid: str) -> tuple[CheckReport, dict[str, Any]]:
    """Hold a run's documents against its file; its stop document."""
    documents = queue.documents(uid)
    (uri,) = {document["uri"] for name, document in documents if name == "stream_resource"}
    report = check_file(uri.removeprefix("file://localhost"), documents=queue.path(uid))
    name, stop = documents[-1]
    assert name == "stop"
    return report, stop


def test_a_grid_is_flown_paused_and_resumed(queue: Queue) -> None:
    queue.add("fly_grid", *MAP, period=PERIOD)
    queue.ask("queue_start")
    queue.until_described(100)
    queue.ask("re_pause", option="immediate")
    queue.until(manager_state="paused")
    queue.ask("re_resume")
    queue.until_described(400)
    queue.ask("re_pause", option="deferred")
    queue.until(manager_state="paused")
    queue.ask("re_resume")
    queue.until(manager_state="idle")

    result = queue.last_result()
    assert result["exit_status"] == "completed", result
    report, stop = check(queue, *result["run_uids"])
    assert report.ok
    assert report.frames == POINTS
    assert stop["exit_status"] == "success"
    assert stop["num_events"]["primary"] == POINTS


def test_an_adaptive_grid_is_flown_paused_and_resumed(queue: Queue) -> None:
    lines = ["nano", "y", 54, 55, 3, "x", 18, 82, 201]
    tuning = {"channel": "Fe", "width": 2.0, "i0": "I0", "beam": {"low": 0.3, "high": 0.6}}
    queue.add("adaptive_fly_grid", *lines, period=0.002, **tuning)
    queue.ask("queue_start")
    queue.until_described(250)
    queue.ask("re_pause", option="immediate")
    queue.until(manager_state="paused")
    queue.ask("re_resume")
    queue.until(manager_state="idle")

    result = queue.last_result()
    assert result["exit_status"] == "completed", result
    report, stop = check(queue, *result["run_uids"])
    assert report.ok
    assert report.frames >= 3 * 201
    assert stop["num_events"]["tuning"] >= 3


def test_an_aborted_grid_describes_what_was_captured_and_waits_in_the_queue(queue: Queue) -> None:
    item = queue.add("fly_grid", *MAP, period=PERIOD)
    queue.ask("queue_start")
    queue.until_described(100)
    queue.ask("re_pause", option="immediate")
    queue.until(manager_state="paused")
    queue.ask("re_abort")
    queue.until(manager_state="idle")

    result = queue.last_result()
    assert result["exit_status"] == "aborted", result
    report, stop = check(queue, *result["run_uids"])
    assert 100 <= report.frames < POINTS
    assert stop["exit_status"] == "abort"
    assert stop["num_events"]["primary"] == report.frames
    (waiting,) = queue.ask("queue_get")["items"]
    assert waiting["kwargs"] == item["kwargs"]
    queue.ask("queue_clear")


def test_a_path_is_flown_from_its_json_although_a_device_is_called_like_its_axis(
    queue: Queue,
) -> None:
    spec = Fly(PERIOD @ Linspace("x", 40, 60, 51)).serialize()
    queue.add("fly", "nano", spec, md={"sample": "star"})
    queue.ask("queue_start")
    queue.until(manager_state="idle", items_in_queue=0)

    result = queue.last_result()
    assert result["exit_status"] == "completed", result
    report, _ = check(queue, *result["run_uids"])
    assert report.ok
    assert report.frames == 51
    _, start = queue.documents(*result["run_uids"])[0]
    assert start["plan_args"]["spec"]["spec"]["spec"]["axis"] == "x"
    assert start["sample"] == "star"


def test_all_plans_are_offered_with_their_parameters(queue: Queue) -> None:
    plans = queue.ask("plans_allowed", user_group="primary")["plans_allowed"]

    names = {"adaptive_fly", "adaptive_fly_grid", "fly", "fly_grid", "fly_paths"}
    assert set(plans) == names | {"rel_fly", "rel_fly_grid"}
    told = {p["name"]: p["annotation"]["type"] for p in plans["fly_grid"]["parameters"]}
    assert told["flyer"] == "__FLYABLE__"
    devices = queue.ask("devices_allowed", user_group="primary")["devices_allowed"]
    assert devices["nano"]["is_flyable"]


def test_bad_arguments_are_refused_before_they_are_queued(queue: Queue) -> None:
    item = {"item_type": "plan", "name": "fly_grid", "args": MAP, "kwargs": {"period": "slow"}}
    with pytest.raises(AssertionError, match="period"):
        queue.ask("queue_item_add", item=item, user="me", user_group="primary")
