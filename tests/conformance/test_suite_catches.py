"""The suites catch what they are for: broken in-memory boxes fail the tests meant for them."""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from flyscan.errors import FlyscanError
from flyscan.flight import cancel
from flyscan.testing import CaptureSuite, MotionSuite
from flyscan.testing._bench import opened
from flyscan.testing._suite._flying import flying
from tests.conformance.broken_captures import CAPTURES
from tests.conformance.broken_motions import MOTIONS
from tests.conformance.memory_bench import capture_bench, motion_bench

#: A test that fails says so by one of these; the last is what pytest.raises fails with.
FAILURES = (AssertionError, FlyscanError, pytest.fail.Exception)
#: Real seconds after which a call counts as hanging, here.
PATIENCE = 0.5


def cases(test: Any) -> list[dict[str, Any]]:
    """The arguments a suite's test is called with, beyond its bench."""
    found: list[dict[str, Any]] = [{}]
    for mark in getattr(test, "pytestmark", []):
        if mark.name == "parametrize":
            name, values = mark.args[:2]
            found = [given | {name: value} for given in found for value in values]
    return found


def wanted(test: Any) -> str:
    """The fixture a suite's test asks for."""
    return "flight" if "flight" in inspect.signature(test).parameters else "bench"


async def failure(
    run: Any, making: AbstractAsyncContextManager[Any], fixture: str, given: dict[str, Any]
) -> str | None:
    """What a suite's test says of a bench; None if it passes."""
    before = asyncio.all_tasks()
    try:
        async with opened(making) as bench:
            if fixture == "flight":
                async with flying(bench) as flight:
                    await run(None, flight, **given)
            else:
                await run(None, bench, **given)
    except FAILURES as error:
        return " / ".join(chain(error))
    finally:
        await cancel(*(asyncio.all_tasks() - before))
    return None


def chain(error: BaseException | None) -> Iterator[str]:
    """Texts of an error and of those it followed."""
    while error is not None:
        yield str(error)
        error = error.__context__


def assert_caught(complaints: list[str | None], expected: str) -> None:
    """One of the complaints must be the expected one."""
    assert any(text is not None and re.search(expected, text) for text in complaints), complaints


@pytest.mark.parametrize(
    ("broken", "test", "complaint"), MOTIONS, ids=lambda part: getattr(part, "__name__", None)
)
async def test_a_broken_motion_is_caught(broken: Any, test: str, complaint: str) -> None:
    run = getattr(MotionSuite, test)
    complaints = [
        await failure(run, motion_bench(broken, PATIENCE), "bench", given) for given in cases(run)
    ]
    assert_caught(complaints, complaint)


@pytest.mark.parametrize(
    ("broken", "test", "complaint"), CAPTURES, ids=lambda part: getattr(part, "__name__", None)
)
async def test_a_broken_capture_is_caught(broken: Any, test: str, complaint: str) -> None:
    run = getattr(CaptureSuite, test)
    complaints = [
        await failure(run, capture_bench(broken, PATIENCE), wanted(run), given)
        for given in cases(run)
    ]
    assert_caught(complaints, complaint)


async def test_the_same_tests_pass_a_sound_box() -> None:
    for test in {test for _, test, _ in MOTIONS}:
        run = getattr(MotionSuite, test)
        for given in cases(run):
            assert await failure(run, motion_bench(), "bench", given) is None
    for test in {test for _, test, _ in CAPTURES}:
        run = getattr(CaptureSuite, test)
        for given in cases(run):
            assert await failure(run, capture_bench(), wanted(run), given) is None
