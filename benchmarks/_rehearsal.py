"""A RunEngine, a host on a manual clock and a flyer on an in-memory box, in one object.

Tests and benchmarks interrupt plans in it, at any moment of simulated time.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bluesky.utils import Msg

from flyscan.flight import Clock, State
from flyscan.testing import MemoryBox

from ._pilot import Moment, Pilot, TellingClock, TellingHost, TellingSink
from ._stage import ENDED, PATIENCE, Documents, Rest, Stage

__all__ = ["Documents", "Rehearsal", "Rest"]

BLOCK_PERIOD = 0.02
OPTIONS = {"flush_period": 0.05, "preview_period": 0.02}
BOXES: dict[str, MemoryBox] = {}


def make_box(name: str, token: str, clock: Clock | None = None, **params: Any) -> MemoryBox:
    """What the host loads as the controller: a box the test can look into afterwards.

    Somebody has left settings on it that no flight would choose.
    """
    box = BOXES[token] = MemoryBox(name, clock=clock, **params)
    box.motion.settings.update({axis: 12.5 + n for n, axis in enumerate(box.motion.axes)})
    box.capture.settings["step"] = "0.125"
    return box


class Rehearsal(Stage):
    """Everything of one session.

    Args:
        folder: where files go.
        options: times the flights go by, see :class:`flyscan.flight.FlightOptions`.
        params: parameters of the box.
    """

    host: TellingHost

    def __init__(
        self, folder: Path, *, options: Mapping[str, float] = OPTIONS, **params: Any
    ) -> None:
        self.clock = TellingClock()
        self.token = str(uuid.uuid4())
        params = {"token": self.token, "block_period": BLOCK_PERIOD, **params}
        self.block_period: float = params["block_period"]
        host = TellingHost(
            {
                "controllers": {"box": {"class": f"{__name__}:make_box", "params": params}},
                "flyers": {
                    "nano": {
                        "motion": "box.motion",
                        "capture": "box.capture",
                        "options": dict(options),
                    }
                },
                "sink": f"{TellingSink.__module__}:TellingSink",
            },
            clock=self.clock,
        )
        self.collecting = False
        super().__init__(host, folder)
        loop = self.host._loop
        assert loop is not None
        self._loop = loop
        self.pilot = Pilot(self)
        self.host.listener = self.pilot.on_event
        self.clock.tell = TellingSink.tell = self.pilot.tell
        self._flying = self.host.run(self.pilot.fly())
        self.RE.state_hook = lambda new, old: self._state(new)
        self.limits = self.host.run(self.box.motion.limits()).result(PATIENCE)
        self.found = self.settings()

    def close(self) -> None:
        """End it all."""
        station = self.host.station
        assert station is not None
        if self.RE.state == "paused":  # whoever ran a plan has failed meanwhile
            self.RE.halt()
        self.host.run(station.close()).result(PATIENCE)
        self._flying.cancel()
        super().close()
        BOXES.pop(self.token)

    @property
    def box(self) -> MemoryBox:
        return BOXES[self.token]

    def settings(self) -> dict[str, Any]:
        """Everything that can be set on the box."""
        return {**self.box.motion.settings, **self.box.capture.settings}

    def look(self, kind: str) -> Rest:
        motion, now = self.box.motion, self.clock.now()
        since = max(track.end for track in motion.trajectories.values())
        return Rest(kind, now, since, motion.moving)

    # --- listening -------------------------------------------------------------------------

    def _tell(self) -> None:
        """Something has changed on the RunEngine's side; wake the pilot only if it waits for it."""
        if self.pilot.waiting:
            self._loop.call_soon_threadsafe(self.pilot.tell)

    def _state(self, new: str) -> None:
        if new == "paused":
            self.pilot.held = True
        self._tell()

    def _document(self, name: str, document: dict[str, Any]) -> None:
        super()._document(name, document)
        if name == "stream_datum":
            self._tell()

    def _message(self, msg: Msg) -> None:
        if msg.command == "kickoff":
            self.collecting = True
        elif msg.command in ("stop", "unstage") or msg.args == ("disarmed",):
            self.collecting = False
        elif msg.command == "wait_for":
            self.pilot.held = True
        super()._message(msg)
        self._tell()

    # --- interfering -----------------------------------------------------------------------

    def at(
        self,
        when: float,
        how: str | Callable[[], None],
        noticed: Callable[[], bool] | None = None,
    ) -> None:
        """Interfere when the clock says `when`; it goes on once that is `noticed`.

        Args:
            how: a kind of interruption, or something that holds the flight.
            noticed: unless the flight is to know of it.
        """
        act = getattr(self, how) if isinstance(how, str) else how
        told = self.told(how) if isinstance(how, str) else self._holds
        self.pilot.moments.append(Moment(when, act, noticed or told))

    def _aside(self, kind: str) -> None:
        """With the clock at rest, like all that interferes."""
        moment = Moment(self.clock.now(), getattr(self, kind), self.told(kind))
        self._loop.call_soon_threadsafe(self.pilot.interfere, moment)

    def told(self, kind: str) -> Callable[[], bool]:
        """Whether the flight knows of an interference, or there is no flight to be told.

        What the RunEngine takes to tell it is real time, in which the clock must not run ahead.
        """
        return self._ends if kind in ENDED else self._holds

    def _ends(self) -> bool:
        """At a halt the RunEngine has the flight held first."""
        state = State(self.pilot.state)
        over = state.final or state in (State.IDLE, State.ENDING, State.STOPPING)
        held = bool(self.pilot.holds) and self.RE.state not in ("running", "suspending")
        return over or held or self.RE.state == "idle"

    def _holds(self) -> bool:
        """Between its checkpoints the RunEngine only remembers that it is to pause.

        A hold may be over before it is looked at: at rest it takes no time of the clock. Before
        there is a flight only the RunEngine is held.
        """
        state = State(self.pilot.state)
        waiting = state in (State.PREPARING, State.READY) and self.RE.deferred_pause_requested
        return self.pilot.held or waiting or self._ends()

    def sigterm_host(self) -> None:
        """What the signal makes a host's process do."""
        if self.host.station is not None:
            self.host.run(self.host.station.close("the flight host was ended by SIGTERM"))

    def forget(self) -> None:
        super().forget()
        self.pilot.forget()
