"""The flyer in plans of all kinds: composed, nested, repeated, misused."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import bluesky.plans as bp
import pytest
from bluesky import plan_stubs as bps
from bluesky import preprocessors as bpp
from bluesky.utils import MsgGenerator, ProgressBarManager
from ophyd_async.core import soft_signal_rw
from scanspec.specs import Fly, Linspace

from flyscan.errors import ConfigurationError, LimitError
from flyscan.flight import Path
from flyscan.plans import (
    declare_flyer_streams,
    fly,
    fly_grid,
    fly_paths,
    fly_prepared,
    prepare_flyer,
)
from tests.plans.rehearsal import Rehearsal

SNAKE = Fly(Linspace("y", 1, 2, 3) * ~Linspace("x", 1, 3, 5))


def snake(stage: Rehearsal, **more: Any) -> MsgGenerator[str]:
    return fly_grid(stage.nano, "y", 1, 2, 3, "x", 1, 3, 5, period=0.01, **more)


# --- documents ------------------------------------------------------------------------------


def test_start_document_is_json_and_repeats_the_flight(stage: Rehearsal) -> None:
    stage.run(fly(stage.nano, SNAKE, period=0.01, md={"sample": "star"}))
    stage.check_complete(15)
    (start,) = stage.of("start")
    start = json.loads(json.dumps(start))
    assert (start["plan_name"], start["sample"]) == ("fly", "star")
    assert (start["shape"], start["snaking"], start["num_points"]) == ([3, 5], [False, True], 15)
    assert start["hints"]["dimensions"] == [
        [["nano-preview-y"], "preview"],
        [["nano-preview-x"], "preview"],
    ]
    first = stage.triggered_at()
    args = start["plan_args"]
    assert args.pop("flyer") == "nano"
    stage.run(fly(stage.nano, **{k: v for k, v in args.items() if v is not None}))
    stage.check_complete(15)
    assert stage.triggered_at() == pytest.approx(first, abs=1e-6)


def test_several_flights_share_one_set_of_resources(stage: Rehearsal) -> None:
    stage.run(fly_paths(stage.nano, [SNAKE, SNAKE, SNAKE], period=0.01))
    stage.check_complete(15, flights=3)
    resources = stage.of("stream_resource")
    assert len(resources) == len({r["data_key"] for r in resources})
    assert len(stage.of("start")) == 1


def test_two_runs_have_two_files(stage: Rehearsal) -> None:
    stage.run(snake(stage))
    first = stage.file
    stage.run(snake(stage))
    assert stage.file != first


def test_full_rate_stream_hints_nothing(stage: Rehearsal) -> None:
    stage.run(snake(stage))
    hints = {d["name"]: d["hints"] for d in stage.of("descriptor")}
    assert not any(h.get("fields") for h in hints["primary"].values())
    assert any(h.get("fields") for h in hints["preview"].values())


# --- composition ----------------------------------------------------------------------------


def test_composed_of_stubs_and_decorators(stage: Rehearsal) -> None:
    path = Path.from_spec(SNAKE, period=0.01)

    @bpp.stage_decorator([stage.nano])
    @bpp.run_decorator(md={"purpose": "two flights"})
    def plan() -> MsgGenerator[None]:
        yield from prepare_flyer(stage.nano, path)
        yield from declare_flyer_streams(stage.nano)
        yield from fly_prepared(stage.nano)
        yield from prepare_flyer(stage.nano, path.to_dict())
        yield from fly_prepared(stage.nano)

    stage.at_message("collect", "pause", 5)
    stage.run(plan())
    stage.check_complete(15, flights=2)
    assert stage.of("start")[0]["purpose"] == "two flights"


def test_nested_in_another_run(stage: Rehearsal) -> None:
    count = soft_signal_rw(int, 7, name="count")

    def outer() -> MsgGenerator[None]:
        yield from bps.open_run({"plan_name": "outer"})
        yield from bps.trigger_and_read([count])
        yield from bpp.set_run_key_wrapper(snake(stage), "inner")
        yield from bps.trigger_and_read([count])
        yield from bps.close_run()

    stage.on_RE(count.connect())
    stage.at_message("collect", "pause", 4)
    stage.run(outer())
    starts = {d["uid"]: d["plan_name"] for d in stage.of("start")}
    assert sorted(starts.values()) == ["fly_grid", "outer"]
    stops = {starts[d["run_start"]]: d for d in stage.of("stop")}
    assert stops["fly_grid"]["num_events"]["primary"] == 15
    assert stops["outer"]["num_events"] == {"primary": 2}
    assert {d["exit_status"] for d in stops.values()} == {"success"}
    assert stage.described_frames() == 15
    stage.check_safe()


def test_monitored_signal(stage: Rehearsal) -> None:
    ring = soft_signal_rw(float, 200.0, name="ring")
    stage.on_RE(ring.connect())
    stage.at_message("collect", "pause", 4)
    stage.run(bpp.monitor_during_wrapper(snake(stage), [ring]))
    stage.check_complete(15)
    assert [d["name"] for d in stage.of("descriptor") if "ring" in d["data_keys"]] == [
        "ring_monitor"
    ]


# --- preparing ------------------------------------------------------------------------------


def test_preparing_the_same_again_is_one_preparation(stage: Rehearsal) -> None:
    path = Path.from_spec(SNAKE, period=0.01)

    async def twice() -> bool:
        await stage.nano.stage()
        first = stage.nano.prepare(path)
        second = stage.nano.prepare(path.to_dict())
        await first
        third = stage.nano.prepare(path)
        await stage.nano.unstage()
        return first is second is third

    assert stage.on_RE(twice())


def test_preparing_again_after_a_refusal(stage: Rehearsal) -> None:
    """A refused path is checked anew: what was wrong may have been put right."""
    path = Path.from_spec(Fly(Linspace("x", 0, 1, 5)), period=0.01)
    check = stage.box.motion.check
    refusals = [LimitError("a switch is pressed", device="x", remedy="move off it")]

    async def refuse_once(wanted: Path) -> None:
        if refusals:
            raise refusals.pop()
        await check(wanted)

    stage.box.motion.check = refuse_once  # type: ignore[method-assign]

    async def again() -> None:
        await stage.nano.stage()
        with pytest.raises(LimitError, match="a switch is pressed"):
            await stage.nano.prepare(path)
        await stage.nano.prepare(path)
        await stage.nano.unstage()

    stage.on_RE(again())
    stage.check_safe()


# --- misuse ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("plan", "text"),
    [
        (bp.fly, "nano: is not prepared"),
        (bp.count, "nano: is a flyer and cannot be triggered and read"),
    ],
)
def test_stock_plans_are_refused_in_our_words(
    plan: Callable[..., Any], text: str, stage: Rehearsal
) -> None:
    with pytest.raises(ConfigurationError) as refused:
        stage.run(plan([stage.nano]))
    assert str(refused.value) == (
        f"{text}. Remedy: use flyscan.plans.fly or fly_grid, which stage, prepare and collect it"
    )
    stage.check_safe()
    stage.run(snake(stage))
    stage.check_complete(15)


def test_unstaged_flyer_is_not_prepared(stage: Rehearsal) -> None:
    with pytest.raises(ConfigurationError, match=r"^nano: is not staged\. Remedy: use flyscan"):
        stage.run(prepare_flyer(stage.nano, Path.from_spec(SNAKE, period=0.01)))


# --- progress -------------------------------------------------------------------------------


class Bar:
    """A progress bar that only remembers."""

    def __init__(self, statuses: Any) -> None:
        self.seen: list[tuple[float, float]] = []
        self.cleared = False
        for status in statuses:
            status.watch(self.update)

    def update(self, *, current: float, target: float, **_: Any) -> None:
        self.seen.append((current, target))

    def clear(self) -> None:
        self.cleared = True


@pytest.mark.parametrize("kind", ["", "pause", "suspend"])
def test_one_progress_bar_per_flight(kind: str, stage: Rehearsal) -> None:
    bars: list[Bar] = []

    def factory(statuses: Any) -> Any:
        bars.append(Bar(statuses))
        return bars[-1]

    stage.RE.waiting_hook = ProgressBarManager(factory)
    if kind:
        stage.at_message("collect", kind, 7)
    stage.run(fly_paths(stage.nano, [SNAKE, SNAKE], period=0.01))
    stage.check_complete(15, flights=2)
    assert len(bars) == 2
    for bar in bars:
        shown = [current for current, _ in bar.seen]
        assert shown == sorted(shown)
        assert bar.seen[-1] == (15, 15)
        assert bar.cleared
