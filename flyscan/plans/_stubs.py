"""Plan stubs: the messages of a flight, in the order that survives every interruption.

Why they look as they do: a ``wait`` that a pause interrupts returns afterwards as if all were
done, and after a resume every message since the last checkpoint is repeated. So nothing here
trusts a ``wait``, kickoff is never inside a stretch that could be repeated, and every collect is
followed by a checkpoint.
"""

# bluesky's plan functions are only partly annotated:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownLambdaType=false

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from bluesky import plan_stubs as bps
from bluesky import preprocessors as bpp
from bluesky.protocols import Status
from bluesky.utils import FailedStatus, Msg, MsgGenerator, plan

from ..devices import Flyer, FlyingDetectors
from ..errors import FlyscanError
from ..flight import Path

__all__ = [
    "collect_flyer",
    "declare_flyer_streams",
    "fly_prepared",
    "prepare_detectors",
    "prepare_flyer",
    "stage_all",
    "unstage_all",
    "until",
]

T = TypeVar("T")

TICK = 0.02
COLLECT_PERIOD = 0.2


@plan
def until(*statuses: Status) -> MsgGenerator[None]:
    """Wait until every status is done; a pause cannot end it early.

    Raises:
        Exception: what the first failed status failed of.
    """
    yield from our_errors(lambda: _until(statuses))


def _until(statuses: Sequence[Status]) -> MsgGenerator[None]:
    while not all(status.done for status in statuses):
        yield from bps.sleep(TICK)
    for status in statuses:
        error = status.exception()
        if error is not None:
            # The RunEngine knows of it too and throws it into the next message, whatever that
            # is. Better here than into the clean-up.
            yield from bps.sleep(TICK)
            raise error


@plan
def stage_all(*devices: Any) -> MsgGenerator[None]:
    """Stage devices, in order."""
    for device in devices:
        status = yield Msg("stage", device)
        if isinstance(status, Status):
            yield from until(status)


@plan
def unstage_all(*devices: Any) -> MsgGenerator[None]:
    """Unstage devices in reverse order; every one is tried before the first error is raised."""
    errors: list[Exception] = []
    for device in reversed(devices):
        try:
            yield from our_errors(partial(_unstage, device))
        except Exception as exc:
            errors.append(exc)
    if errors:
        raise errors[0]


def _unstage(device: Any) -> MsgGenerator[None]:
    status = yield Msg("unstage", device)
    if isinstance(status, Status):
        yield from until(status)


@plan
def prepare_detectors(
    detectors: FlyingDetectors, paths: Sequence[Path | Mapping[str, Any]]
) -> MsgGenerator[None]:
    """Arm detectors for all paths of a run, if they are fast enough; before the first flyer."""
    yield from our_errors(lambda: _prepare(detectors, paths))


@plan
def prepare_flyer(
    flyer: Flyer,
    path: Path | Mapping[str, Any],
    detectors: FlyingDetectors | None = None,
    steering: Mapping[str, Any] | None = None,
) -> MsgGenerator[None]:
    """Check a path, arm, and go to the first run-up; `steering` says what tunes the flight."""
    yield from our_errors(lambda: _prepare(flyer, path, detectors, steering))


def _prepare(device: Any, *args: Any) -> MsgGenerator[None]:
    status = yield Msg("prepare", device, *args)
    yield from _until([status])


@plan
def declare_flyer_streams(
    flyer: Flyer, detectors: FlyingDetectors | None = None, *, tuned: bool = False
) -> MsgGenerator[None]:
    """Declare ``primary``, ``preview``, ``ledger`` and for steered flights ``tuning``.

    Once per run, after the first prepare.
    """
    yield Msg("declare_stream", None, *_members(detectors), flyer, name="primary", collect=True)
    yield Msg("declare_stream", None, flyer.preview, name="preview", collect=True)
    yield Msg("declare_stream", None, flyer.ledger, name="ledger", collect=True)
    if tuned:
        yield Msg("declare_stream", None, flyer.tuning, name="tuning", collect=True)


@plan
def collect_flyer(
    flyer: Flyer, detectors: FlyingDetectors | None = None, *, tuned: bool = False
) -> MsgGenerator[None]:
    """Turn everything readable by now into documents, and set a checkpoint behind it.

    The flyer goes last: by then the shielded detectors have drained, and nothing suspends any
    more between taking rows out and describing them.
    """
    yield Msg("collect", *_members(detectors), flyer, name="primary", return_payload=False)
    yield Msg("collect", flyer.preview, name="preview", return_payload=False)
    yield Msg("collect", flyer.ledger, name="ledger", return_payload=False)
    if tuned:
        yield Msg("collect", flyer.tuning, name="tuning", return_payload=False)
    yield from bps.checkpoint()


def _members(detectors: FlyingDetectors | None) -> Sequence[Any]:
    return () if detectors is None else detectors.members


@plan
def fly_prepared(
    flyer: Flyer,
    detectors: FlyingDetectors | None = None,
    *,
    kickoff: Iterable[Any] = (),
    tuned: bool = False,
) -> MsgGenerator[None]:
    """Fly what was prepared: kickoff, collect while it flies, complete.

    Args:
        flyer: staged, prepared, its streams declared.
        detectors: detectors that fly along, given to its prepare as well.
        kickoff: devices kicked off together with it, before it.
        tuned: the flight is steered, so that there are decisions to collect.

    Raises:
        FlyscanError: what the flight failed of. Whatever the reason it ends early for, motion
            and triggers are stopped and the rows captured until then are in the documents.
    """

    def tail(_: Exception) -> MsgGenerator[None]:
        # A host that is gone has stopped by itself, and the clean-up will complain of it; what it
        # has stored before is still to be described.
        with suppress(FlyscanError):
            yield Msg("stop", flyer)
        yield from collect_flyer(flyer, detectors, tuned=tuned)
        if detectors is not None:
            yield from _catch_up(flyer, detectors)
        yield from _disarm(flyer)

    yield from our_errors(
        lambda: bpp.contingency_wrapper(_fly(flyer, detectors, kickoff, tuned), except_plan=tail)
    )


def _fly(
    flyer: Flyer,
    detectors: FlyingDetectors | None,
    kickoff: Iterable[Any],
    tuned: bool,
) -> MsgGenerator[None]:
    group = f"flight-{uuid.uuid4()}"
    yield from bps.checkpoint()
    armed = yield Msg("set", flyer.guard, "armed")
    yield from until(armed)
    kicked: list[Status] = []
    for device in (*kickoff, flyer):
        kicked += [(yield Msg("kickoff", device))]
    yield from until(*kicked)
    status = yield Msg("complete", flyer, group=group)
    yield from _show_progress(group)
    while not status.done:
        yield from bps.checkpoint()
        yield from bps.sleep(COLLECT_PERIOD)
        yield from collect_flyer(flyer, detectors, tuned=tuned)
        if detectors is not None:
            detectors.watch(flyer.flushed)
    yield from _show_progress(group)
    yield from until(status)
    flyer.check_outcome()
    yield from collect_flyer(flyer, detectors, tuned=tuned)
    yield from _disarm(flyer)
    if detectors is not None:
        detectors.settled(flyer.flushed)


def _catch_up(flyer: Flyer, detectors: FlyingDetectors) -> MsgGenerator[None]:
    """Give detectors the time they need for the last frames of a flight that ended early."""
    while detectors.behind(flyer.flushed):
        yield from bps.sleep(TICK)
        yield from collect_flyer(flyer, detectors)


def _show_progress(group: str) -> MsgGenerator[None]:
    """Give the group to the RunEngine's progress bar, or take it back once it is done.

    A wait that lasts would lose the group when a pause interrupts it, hence no time at all.
    """
    yield from bps.wait(group, error_on_timeout=False, timeout=0)


def _disarm(flyer: Flyer) -> MsgGenerator[None]:
    """From here on a pause may repeat messages again, and the account must close."""
    status = yield Msg("set", flyer.guard, "disarmed")
    yield from until(status)
    flyer.finished()


def our_errors(make: Callable[[], MsgGenerator[T]]) -> MsgGenerator[T]:
    """Raise what the device said rather than that its status failed.

    The RunEngine throws a status' failure into whatever message comes next, so this belongs
    around whole plans and not only around the waits.
    """
    try:
        return (yield from make())
    except FailedStatus as exc:
        cause = exc.args[0].exception() if exc.args else None
        if isinstance(cause, FlyscanError):
            raise cause from exc
        raise
