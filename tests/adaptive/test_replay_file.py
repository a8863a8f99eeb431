"""A run's file is enough to make every decision again."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path as FilePath
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flyscan.adaptive import (
    CurvatureSpeed,
    Decision,
    GoBack,
    Policy,
    PriorSpeed,
    ReplayedFlight,
    Retune,
    SimulatedLine,
    first_difference,
    replay_file,
)
from flyscan.errors import ConfigurationError, StorageError
from tests.adaptive.lines import line, now, peak, rows
from tests.adaptive.tape import FLUSH, Dice, Script, Tape, store

TRUSTED = ("tests.adaptive.tape:Dice",)


def flown(policy: Policy, *, flight: int = 0, first: int = 0, lines: int = 3) -> Tape:
    """Lines over a peak, with a second one on the last."""
    tape = Tape(policy, flight=flight, first=first)
    rng = np.random.default_rng(5)
    for index in range(lines):
        sample = peak(0.3, 0.01, 1e6)
        both = lambda x: peak(0.3, 0.01, 1e6)(x) + peak(0.7, 0.01, 1e6)(x)  # noqa: E731
        context = replace(line(extra_time=0.25), segment=index)
        one = SimulatedLine(context, {"y": both if index == lines - 1 else sample}, rng)
        one.fly(tape)
    return tape


def assert_identical(found: ReplayedFlight, tape: Tape) -> None:
    assert found.difference is None
    assert first_difference(list(found.recorded), tape.decisions) is None
    assert len(found.decisions) == len(tape.decisions)


async def test_a_run_is_replayed_to_the_last_bit(tmp_path: FilePath) -> None:
    tape = flown(PriorSpeed("y", 0.01))
    assert any(isinstance(d.proposal, GoBack) for d in tape.decisions)
    sink = await store(tmp_path, tape)
    await sink.close()
    (found,) = replay_file(tmp_path / "run.h5")
    assert_identical(found, tape)
    assert found.policy["class"] == "flyscan.adaptive:PriorSpeed"
    data = json.loads(json.dumps(found.to_dict()))
    assert (data["flight"], data["recorded"], data["difference"]) == (0, len(tape.decisions), None)


async def test_each_flight_of_a_run_is_replayed(tmp_path: FilePath) -> None:
    one = flown(PriorSpeed("y", 0.01))
    two = flown(CurvatureSpeed("y", 0.01, target_error=3.0), flight=2, first=one.frames, lines=1)
    sink = await store(tmp_path, one, two)
    await sink.close()
    for found, tape in zip(replay_file(tmp_path / "run.h5"), (one, two), strict=True):
        assert_identical(found, tape)
    (found,) = replay_file(tmp_path / "run.h5", flight=2)
    assert found.flight == 2
    with pytest.raises(StorageError, match=r"no steered flight 1.*flights are: 0, 2"):
        replay_file(tmp_path / "run.h5", flight=1)


@pytest.mark.parametrize(
    ("column", "change"),
    [("y", 1.0), ("start", 1e-13), ("exposure", 1e-15), ("point", 1), ("pass", 1)],
)
async def test_any_other_bit_in_the_rows_is_noticed(
    tmp_path: FilePath, column: str, change: float
) -> None:
    tape = Tape(Dice(1))
    tape.begin(line(), 0.0)
    tape.tell(rows(50), 0.1)
    for _ in range(4):
        tape.ask(now())
    tape.end()
    sink = await store(tmp_path, tape)
    await sink.close()
    (found,) = replay_file(tmp_path / "run.h5", trusted=TRUSTED)
    assert_identical(found, tape)
    with h5py.File(tmp_path / "run.h5", "r+") as file:
        file["entry/data"][column][20] += change
    (found,) = replay_file(tmp_path / "run.h5", trusted=TRUSTED)
    assert found.difference is not None
    assert "block 1): " in found.difference


async def test_another_decision_is_named(tmp_path: FilePath) -> None:
    tape = flown(PriorSpeed("y", 0.01), lines=1)
    changed = next(s for s in tape.steps if isinstance(s, dict) and s["event"] == "decided")
    changed["decision"] = changed["decision"] | {"reason": "no idea"}
    sink = await store(tmp_path, tape)
    await sink.close()
    (found,) = replay_file(tmp_path / "run.h5")
    assert found.difference is not None
    assert found.difference.startswith("decision 0 (line 0, block 0): reason was 'no idea', is '")


async def test_another_policy_sees_the_same_rows(tmp_path: FilePath) -> None:
    tape = flown(PriorSpeed("y", 0.01))
    tape.stop("too slow", 9.0)
    sink = await store(tmp_path, tape)
    await sink.close()
    other = {"class": "flyscan.adaptive:Budget", "params": {"total_dose": 0.5}}
    (found,) = replay_file(tmp_path / "run.h5", policy=other)
    assert found.difference is None
    assert found.recorded[-1].cause == "late"
    assert "finish" in {d.applied["kind"] for d in found.decisions if d.applied and d.proposal}
    assert all(d.cause not in ("fault", "late") for d in found.decisions)


async def test_what_became_of_decisions_is_read_back(tmp_path: FilePath) -> None:
    tape = flown(PriorSpeed("y", 0.01), lines=1)
    applied = {"event": "applied", "number": 0, "effective_point": 7, "latency": 0.25}
    tape.event(applied)
    sink = await store(tmp_path, tape)
    await sink.close()
    (found,) = replay_file(tmp_path / "run.h5")
    assert (found.recorded[0].effective_point, found.recorded[0].latency) == (7, 0.25)
    assert found.difference is None


async def test_nonsense_that_was_proposed_is_proposed_again(tmp_path: FilePath) -> None:
    tape = Tape(Script({"0": [Retune("", velocity=float("nan")).to_dict()]}))
    tape.begin(line())
    refused = tape.ask(now())
    assert refused is not None
    assert np.isnan(refused.proposed["velocity"])
    tape.end()
    sink = await store(tmp_path, tape)
    await sink.close()
    (found,) = replay_file(tmp_path / "run.h5", trusted=["tests.adaptive.tape:Script"])
    assert found.difference is None
    assert len(found.decisions) == 2


STEPS = st.lists(
    st.sampled_from(["begin", "tell", "tell", "tell", "ask", "ask", "end", "stop", "flush"]),
    max_size=40,
)


def played(steps: list[str], seed: int, *, flux: bool, time: float) -> Tape:
    """Any calls in any order."""
    tape, rng = Tape(Dice(seed)), np.random.default_rng(seed)
    for step in steps:
        time += float(rng.random())
        match step:
            case "begin":
                tape.begin(line(start=float(rng.random()) / 10), time)
            case "tell":
                tape.tell(*told(rng, tape.frames, flux, time))
            case "ask":
                tape.ask(now(time=time, held=bool(rng.random() < 0.3), age=float(rng.random())))
            case "end":
                tape.end()
            case "stop":
                tape.stop("took too long", time)
            case _:
                tape.steps.append(FLUSH)
    return tape


def told(rng: np.random.Generator, first: int, flux: bool, time: float) -> tuple[Any, float]:
    """A block of rows with everything that may be in them."""
    n = int(rng.integers(1, 60))
    counts = rng.poisson(30.0, n).astype(float)
    counts[rng.random(n) < 0.02] = np.nan
    i0 = rng.normal(1.0, 0.1, n) if flux else None
    if i0 is not None and n > 1:
        i0[rng.random(n) < 0.05] = np.nan
        i0[0] = 1.0
    block = rows(
        n,
        first=first,
        counts=counts,
        at=float(rng.random()),
        time=time + np.sort(rng.random(n)),
        live=rng.random(n),
        i0=i0,
        signals={"error": rng.normal(0, 1, n).astype("<f4")},
        passes=rng.integers(0, 3, n),
        good=np.zeros(n, np.bool_) if rng.random() < 0.1 else None,
    )
    return block, time


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=STEPS, seed=st.integers(0, 10**6), flux=st.booleans(), time=st.floats(0, 1e5))
def test_any_sequence_of_calls_is_replayed_identically(
    tmp_path_factory: Any, steps: list[str], seed: int, flux: bool, time: float
) -> None:
    tape = played(steps, seed, flux=flux, time=time)
    directory = tmp_path_factory.mktemp("tape")

    async def check() -> None:
        sink = await store(directory, tape, signals=("error",))
        flushed = [s for s in tape.steps if s is FLUSH]
        if flushed:  # half-written, as a reader finds it
            for found in replay_file(directory / "run.h5", trusted=TRUSTED):
                assert found.difference is None
                assert len(found.recorded) <= len(tape.decisions)
        await sink.close()
        (found,) = replay_file(directory / "run.h5", trusted=TRUSTED)
        assert_identical_so_far(found, tape)

    asyncio.run(check())


def assert_identical_so_far(found: ReplayedFlight, tape: Tape) -> None:
    """Identical; what came of the last call is left out if the run was cut off right there."""
    assert found.difference is None
    last = tape.steps[-1]
    cut = isinstance(last, dict) and last["event"] in ("began", "told", "asked")
    assert len(found.recorded) == len(tape.decisions)
    again = [Decision.from_dict(json.loads(json.dumps(d.to_dict()))) for d in tape.decisions]
    assert first_difference(list(found.recorded), again) is None
    assert cut or len(found.decisions) == len(tape.decisions)


@pytest.mark.parametrize("frames", [0, 3, 60, 777, 1234])
async def test_a_run_cut_off_anywhere_is_replayed_as_far_as_it_goes(
    tmp_path: FilePath, frames: int
) -> None:
    tape = flown(PriorSpeed("y", 0.01))
    sink = await store(tmp_path, tape)
    await sink.close()
    with h5py.File(tmp_path / "run.h5", "r+") as file:
        for column in file["entry/data"].values():
            column.resize(frames, axis=0)
    (found,) = replay_file(tmp_path / "run.h5")
    assert found.difference is None
    assert 1 <= len(found.recorded) < len(tape.decisions)


async def test_an_answer_that_was_not_stored_any_more_is_no_difference(tmp_path: FilePath) -> None:
    tape = flown(PriorSpeed("y", 0.01))
    first = next(
        i for i, s in enumerate(tape.steps) if isinstance(s, dict) and s["event"] == "asked"
    )
    answered = next(
        i
        for i, s in enumerate(tape.steps)
        if i > first and isinstance(s, dict) and s["event"] == "decided"
    )
    tape.steps = tape.steps[:answered]
    sink = await store(tmp_path, tape)
    await sink.close()
    (found,) = replay_file(tmp_path / "run.h5")
    assert found.difference is None


# --- bad input -----------------------------------------------------------------------------


async def test_policies_of_others_are_loaded_only_if_trusted(tmp_path: FilePath) -> None:
    part = {"class": "tests.adaptive.tape:Dice", "params": {}}
    tape = Tape(Dice(1))
    tape.steps[0]["policy"] = {
        "class": "flyscan.adaptive:Composite",
        "params": {"policies": [part]},
    }
    sink = await store(tmp_path, tape)
    await sink.close()
    with pytest.raises(ConfigurationError, match=r"'tests.adaptive.tape:Dice'.*--trust CLASS"):
        replay_file(tmp_path / "run.h5")
    assert replay_file(tmp_path / "run.h5", trusted=TRUSTED)[0].difference is None
    assert replay_file(tmp_path / "run.h5", policy=part)[0].decisions == ()


async def test_a_run_nobody_steered_says_so(tmp_path: FilePath) -> None:
    sink = await store(tmp_path)
    await sink.close()
    with pytest.raises(StorageError, match=r"no steered flight.*flights are: none"):
        replay_file(tmp_path / "run.h5")
    with pytest.raises(StorageError, match="cannot be read"):
        replay_file(tmp_path / "other.h5")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda steps: steps.pop(0), "does not begin with the start"),
        (lambda steps: steps[0].pop("rail"), "KeyError"),
        (lambda steps: steps[0]["rail"].update(low=99), "contradictory limits"),
        (lambda steps: steps[1].pop("time"), "KeyError"),
        (lambda steps: steps[1]["line"].update(colour="blue"), "TypeError"),
        (lambda steps: steps[1]["line"].update(v_min=-1), "contradictory or undefined limits"),
        (lambda steps: steps[2].update(decision={"number": 0}), "TypeError"),
    ],
)
async def test_records_without_sense_are_refused(
    tmp_path: FilePath, change: Any, text: str
) -> None:
    tape = flown(PriorSpeed("y", 0.01), lines=1)
    change(tape.steps)
    sink = await store(tmp_path, tape)
    await sink.close()
    with pytest.raises(StorageError, match=f"record of flight 0 cannot be replayed.*{text}"):
        replay_file(tmp_path / "run.h5")
