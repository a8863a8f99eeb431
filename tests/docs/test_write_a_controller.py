"""The controller that docs/how-to/write-a-controller.md builds does what every Motion must do."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path as FilePath

import pytest
from scanspec.specs import Linspace

from docs.examples.tern_stage import TernMotion
from flyscan.errors import (
    ConfigurationError,
    ControllerError,
    NotReadyError,
    WatchdogError,
)
from flyscan.flight import JoinOutcome, Path, Sweep, plan_sweep
from flyscan.testing import MotionBench, MotionSuite, passing
from tests.docs.tern_server import STAGE, TernServer, tern_server

DOCS = FilePath(__file__).resolve().parents[2] / "docs"


class TestTernMotion(MotionSuite):
    @asynccontextmanager
    async def make_bench(self) -> AsyncGenerator[MotionBench]:
        async with passing() as clock, tern_server(clock) as box:

            async def settings() -> Mapping[str, str]:
                return {"VEL": box.answer("VEL?")}

            yield MotionBench(
                make=lambda: TernMotion("tern", "127.0.0.1", box.port, "x", clock),
                clock=clock,
                settings=settings,
                spans={"x": (40.0, 60.0)},
                travel={"x": (STAGE.low, STAGE.high)},
                tolerance=0.02,
                rough=0.1,
                truth=lambda: {"x": float(box.stage.position(clock.now()))},
            )


# --- beyond the suite: what only this box and this page can do wrong -----------------------


@asynccontextmanager
async def rig() -> AsyncGenerator[tuple[TernServer, TernMotion]]:
    async with passing() as clock, tern_server(clock) as box:
        motion = TernMotion("tern", "127.0.0.1", box.port, "x", clock)
        try:
            yield box, motion
        finally:
            await motion.close()


LINE = Path.from_spec(Linspace.bounded("x", 40.0, 60.0, 20), period=0.05)


async def start(motion: TernMotion) -> Sweep:
    await motion.connect()
    sweep = plan_sweep(LINE.segment(0), 0, await motion.limits())
    await motion.prepare(sweep)
    await motion.start(sweep)
    return sweep


async def test_a_line_that_is_cut_is_opened_again() -> None:
    async with rig() as (box, motion):
        sweep = await start(motion)
        await box.cut()

        assert await motion.join() is JoinOutcome.DONE
        assert (await motion.position())["x"] == pytest.approx(sweep.target["x"])


async def test_stop_reaches_the_box_after_the_line_was_lost() -> None:
    async with rig() as (box, motion):
        await start(motion)
        await box.cut()

        await motion.stop()

        assert not box.stage.moving(box.clock.now())


async def test_another_box() -> None:
    async with rig() as (box, motion):
        box.identity = "PETREL 3"
        with pytest.raises(ConfigurationError, match="expected 'TERN 1', found 'PETREL 3'"):
            await motion.connect()


async def test_a_motor_without_power() -> None:
    async with rig() as (box, motion):
        await motion.connect()
        box.power = False

        with pytest.raises(NotReadyError, match="the motor is off"):
            await motion.check(LINE)
        with pytest.raises(ControllerError, match="answered 'ERR cannot do that' to 'GO 50"):
            await motion.move_to("x", 50.0)
        assert box.velocity == 33.0


async def test_nonsense() -> None:
    async with rig() as (box, motion):
        await motion.connect()
        box.values["POS?"] = "far away"
        with pytest.raises(ControllerError, match=r"'far away' to 'POS\?', expected 1 number"):
            await motion.position()


async def test_a_stage_that_stays_busy() -> None:
    async with rig() as (box, motion):
        sweep = await start(motion)
        began = box.clock.now()
        box.values["BUSY?"] = "1"
        with pytest.raises(WatchdogError, match="2 s overdue"):
            await motion.join()
        assert box.clock.now() - began == pytest.approx(sweep.duration + 2.0, abs=0.1)


def test_the_module_is_short() -> None:
    code = (DOCS / "examples" / "tern_stage.py").read_text(encoding="utf-8")
    assert len(code.splitlines()) < 150


def test_the_page_shows_the_whole_module() -> None:
    page = (DOCS / "how-to" / "write-a-controller.md").read_text(encoding="utf-8")
    code = (DOCS / "examples" / "tern_stage.py").read_text(encoding="utf-8")
    included = r"```\{literalinclude\} \.\./examples/tern_stage\.py\n(.*?)```"
    shown = ""
    for block in re.findall(included, page, flags=re.DOTALL):
        options = dict(re.findall(r'^:([\w-]+): "?(.*?)"?$', block, flags=re.MULTILINE))
        lines = code.splitlines(keepends=True)
        first, last = (
            next(i for i, line in enumerate(lines) if text in line) if text else default
            for text, default in (
                (options.get("start-at"), 0),
                (options.get("end-before"), len(lines)),
            )
        )
        shown += "".join(lines[first:last])

    assert shown == code
