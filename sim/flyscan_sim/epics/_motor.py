"""The motor record: what it does when written to and when its motor moves and stops.

A model of EPICS motor 7 seen from outside (motorRecord documentation and behaviour): one
object per motor, no input or output. `put` is a client's write, `update` the motor driver's
report; both add what changed to `posts`, in order.
"""

from __future__ import annotations

from enum import IntEnum

from flyscan.flight import Clock
from flyscan_sim.world import FaultScript, StageAxis

from ._driver import Driver
from ._fields import FIELDS, Value
from ._values import MotorFields, MotorSettings, nint

__all__ = ["MotorRecord", "Phase"]

_JOG_MARGIN_S = 1.0  # a jog stops this far ahead of a soft limit


class Phase(IntEnum):
    """What the record is doing; the numbers are those clients see in MIP."""

    DONE = 0x0
    JOGF = 0x1
    JOGR = 0x2
    JOG_BL1 = 0x4
    HOMF = 0x8
    HOMR = 0x10
    MOVE = 0x20
    RETRY = 0x40
    MOVE_BL = 0x100
    STOP = 0x200
    DELAY = 0x400
    JOG_STOP = 0x2000
    JOG_BL2 = 0x4000


_JOGGING = (Phase.JOGF, Phase.JOGR)
_HOMING = (Phase.HOMF, Phase.HOMR)
_TARGETS = ("VAL", "DVAL", "RVAL", "RLV", "TWF", "TWR")
_JOG_END = (Phase.JOG_STOP, Phase.JOG_BL1, Phase.JOG_BL2)


class MotorRecord:
    """One motor record driving one axis; dial units are the axis' own.

    Args:
        name: name of the record.
        axis: what moves.
        clock: the world's time.
        faults: a ``stall`` of the axis shows as a slip in MSTA and as an alarm.
        settings: initial field values.
    """

    def __init__(
        self,
        name: str,
        axis: StageAxis,
        clock: Clock,
        faults: FaultScript,
        settings: MotorSettings,
    ) -> None:
        self.name = name
        self.fields = MotorFields()
        self._clock = clock
        self._driver = Driver(axis, clock, faults, self.fields)
        self._period = settings.update_period
        self._phase = Phase.DONE
        self._jog_requested = False
        self._finish_backlash = False
        self._sync_at_stop = False
        self._wait_until = 0.0
        self.fields.set_up(name, axis, settings)
        self._read()
        self.fields.synchronise()
        self.posts.clear()

    @property
    def posts(self) -> list[tuple[str, Value]]:
        """Changes not yet collected, oldest first; the collector empties it."""
        return self.fields.posts

    @property
    def done(self) -> bool:
        """Whether a write with completion is complete (DMOV)."""
        return bool(self.fields["DMOV"])

    def put(self, name: str, value: Value) -> None:
        """A client's write.

        Raises:
            KeyError: no such field, or not writable.
            ValueError: the field cannot have that value; nothing has happened.
        """
        f, spec = self.fields, FIELDS[name]
        if not spec.writable:
            raise KeyError(f"{self.name}.{name} is not writable")
        value = f.converted(name, value)
        self._read()
        if name in _TARGETS:
            f.post("DMOV", 0)  # blinks on every write of a target
        f.store(name, value)
        f.adjust(name)
        if name != "VAL":  # whose echo is the outcome
            f.echo(name)
        self._react(name)
        if spec.processes:
            self._work()
            self._read()
            f.alarm()
        if name == "VAL":
            f.echo(name)

    def _react(self, name: str) -> None:
        """What a write does to the motor at once, without processing the record."""
        f = self.fields
        if name == "JVEL" and self._phase in _JOGGING:
            self._driver.jog(bool(f["CDIR"]))
        elif name in ("OFF", "DIR"):
            self._read()
        elif name in ("JOGF", "JOGR"):
            self._jog_requested = bool(f[name]) and self._phase is Phase.DONE
        elif name in ("HOMF", "HOMR") and self._phase is not Phase.DONE:
            f.post(name, 0)  # not taken while moving

    def update(self) -> None:
        """The driver's report: read back, and act if the motor has stopped."""
        self._read()
        if self._phase is not Phase.DONE:
            if self.fields["MOVN"]:
                self._watch()
            elif self._clock.now() >= self._wait_until:
                self._ended()
        self.fields.alarm()

    def next_update(self) -> float | None:
        """When the driver reports next, s of the clock; None while nothing moves."""
        if self._phase is Phase.DONE or self._held():
            return None
        now = self._clock.now()
        if self._phase is Phase.DELAY:
            return self._wait_until
        return max(now, min(now + self._period, self._driver.stands_at))

    # --- work: what a processed record does -----------------------------------------------

    def _work(self) -> None:
        if self._stop_requested():
            return
        if self._buttons():
            return
        if self._collect():
            return
        if self._paused:
            return
        f = self.fields
        if f["DVAL"] != f["LDVL"] or not self.done:
            self._request()

    def _stop_requested(self) -> bool:
        """Handle STOP and a changed SPMG; true if that is all there is to do."""
        f = self.fields
        stop, changed = bool(f["STOP"]), f["SPMG"] != f["LSPG"]
        f.post("LSPG", f["SPMG"])
        if stop:
            f.post("STOP", 0)
        if not (stop or changed):
            return False
        if not (stop or self._paused):
            if self._phase is Phase.STOP and not self._sync_at_stop:
                self._enter(Phase.DONE)  # go on before the pause has come to a stand
            return False
        forget = stop or f.menu("SPMG") == "Stop"
        if self._phase in (Phase.DONE, Phase.STOP, Phase.RETRY):
            if self._phase is Phase.RETRY and forget:
                self.fields.synchronise()
                self._finish()
            return True
        self._clear_buttons()
        self._stop(sync=forget or self._phase in _JOGGING + _JOG_END)
        return True

    def _buttons(self) -> bool:
        """Handle jog and home requests; true if that is all there is to do."""
        f = self.fields
        if self._phase in _JOGGING:
            self._clear_buttons()  # any processing ends a jog
            self._enter(Phase.JOG_STOP)
            self._driver.halt()
            return True
        if self._phase in _JOG_END:
            return True
        if self._phase is Phase.DONE and not self._paused:
            if self._jog_requested:
                self._jog()
                return True
            if f["HOMF"] or f["HOMR"]:
                self._home()
                return True
        return False

    def _collect(self) -> bool:
        """Bring all sources of a target together in DVAL; true if it was only a new offset."""
        f = self.fields
        for button, sign in (("TWF", 1), ("TWR", -1)):
            if f[button]:
                f.post("VAL", f["VAL"] + sign * f["TWV"])
                f.post(button, 0)
        if f["RLV"]:
            f.post("VAL", f["VAL"] + f["RLV"])
            f.post("RLV", 0.0)
        if f["RVAL"] != f["LRVL"]:
            f.post("DVAL", f["RVAL"] * f["MRES"])
        if f["VAL"] != f["LVAL"]:
            if f["SET"] and not f["FOFF"]:
                f.redefine_offset()
                self._read()
                self._enter(Phase.DONE)
                f.post("DMOV", 1)
                return True
            f.post("DVAL", f.dial(f["VAL"]))
        return False

    def _request(self) -> None:
        """A new target in DVAL: load it, refuse it, queue it or go."""
        f = self.fields
        if f["SET"]:
            self._load()
            return
        f.post("VAL", f.user(f["DVAL"]))
        f.post("RVAL", nint(f["DVAL"] / f["MRES"]))
        f.difference()
        idle = self._phase in (Phase.DONE, Phase.RETRY)
        if idle and f.too_small(retry=self._phase is Phase.RETRY):
            f.accept_target()
            self._finish()
        elif f.violates(preferred=f.preferred()):
            f.post("LVIO", 1)
            f.revert_target()
            if idle:
                self._finish()
        else:
            f.post("LVIO", 0)
            if idle:
                self._start()

    def _start(self) -> None:
        """Begin the move to DVAL: straight, or in two parts if backlash is to be taken out."""
        f = self.fields
        preferred, origin = f.preferred(), f["LDVL"]
        if self._phase is not Phase.RETRY:
            f.post("RCNT", 0)
        f.accept_target()
        f.post("CDIR", int(f["RDIF"] >= 0))
        f.post("DMOV", 0)
        self._enter(Phase.MOVE)
        same_ramp = f["BVEL"] == f["VELO"] and f["BACC"] == f["ACCL"]
        if abs(f["BDST"]) < f["MRES"] or (preferred and same_ramp):
            self._driver.go(f["DVAL"], "VELO", "ACCL")
        elif preferred and abs(f["DVAL"] - origin) <= abs(f["BDST"]) + f["MRES"]:
            self._driver.go(f["DVAL"], "BVEL", "BACC")
        else:
            self._finish_backlash = True
            self._driver.go(f["DVAL"] - f["BDST"], "VELO", "ACCL")

    def _jog(self) -> None:
        f = self.fields
        self._jog_requested = False
        if f.jog_violates(f["VAL"], _JOG_MARGIN_S):
            f.post("LVIO", 1)
            self._clear_buttons()
            return
        self._enter(Phase.JOGF if f["JOGF"] else Phase.JOGR)
        f.post("DMOV", 0)
        f.post("CDIR", int(bool(f["JOGF"]) == (f.direction > 0)))
        self._driver.jog(bool(f["CDIR"]))

    def _home(self) -> None:
        f = self.fields
        self._enter(Phase.HOMF if f["HOMF"] else Phase.HOMR)
        f.post("DMOV", 0)
        f.post("LVIO", 0)
        f.post("CDIR", int(self._driver.home()))

    def _load(self) -> None:
        """Redefine where the motor is, in the controller, without motion."""
        f = self.fields
        self._driver.load(f["DVAL"])
        f.post("RVAL", nint(f["DVAL"] / f["MRES"]))
        if f["FOFF"]:
            f.post("VAL", f.user(f["DVAL"]))
        else:
            f.redefine_offset()
        f.accept_target()
        self._read()
        self._finish()

    # --- motion: what the record does when its motor moves and stops -----------------------

    def _watch(self) -> None:
        """A report in motion: stop a jog near a limit, turn round for a target behind."""
        f = self.fields
        if self._phase in _JOGGING and f.jog_violates(f["RBV"], _JOG_MARGIN_S):
            f.post("LVIO", 1)
            self._clear_buttons()
            self._stop(sync=True)
        far = abs(f["DIFF"]) > f["NTMF"] * (abs(f["BDST"]) + f["RDBD"])
        turned = bool(f["RDIF"] >= 0) != bool(f["CDIR"])
        if self._phase is Phase.MOVE and f["NTM"] and turned and far:
            self._stop(sync=False)

    def _ended(self) -> None:
        """The motor has stopped: next part of a compound motion, delay, retry, or done."""
        f = self.fields
        if f.at_switch() and self._phase not in (Phase.DONE, Phase.DELAY):
            self._clear_buttons()
            self._finish_backlash = False
            self.fields.synchronise()
            self._finish()
            return
        if self._next_part():
            return
        if f["DLY"] > 0 and self._phase is not Phase.DELAY:
            self._wait_until = self._clock.now() + f["DLY"]
            self._enter(Phase.DELAY)
            return
        self._settle()

    def _next_part(self) -> bool:
        f = self.fields
        if self._phase is Phase.MOVE and self._finish_backlash:
            self._finish_backlash = False
            if f["VAL"] == f["LVAL"]:  # otherwise a newer target is waiting
                self._enter(Phase.MOVE_BL)
                self._driver.go(f["DVAL"], "BVEL", "BACC")
                return True
        if self._phase is Phase.STOP and self._sync_at_stop:
            self._sync_at_stop = False
            self.fields.synchronise()
        if self._phase in _HOMING:
            self._clear_buttons()
            self.fields.synchronise()
        if self._phase in (*_JOGGING, Phase.JOG_STOP):
            self._clear_buttons()
            self.fields.synchronise()
            if abs(f["BDST"]) >= f["MRES"]:
                self._enter(Phase.JOG_BL1)
                self._driver.go(f["DVAL"] - f["BDST"], "VELO", "ACCL")
                return True
        if self._phase is Phase.JOG_BL1:
            self._enter(Phase.JOG_BL2)
            self._driver.go(f["DVAL"], "BVEL", "BACC")
            return True
        return False

    def _settle(self) -> None:
        """At rest: queued target, retry, or done."""
        f = self.fields
        if f["VAL"] != f["LVAL"]:
            self._enter(Phase.DONE)
            f.post("DMOV", 0)
            self._work()
            return
        if abs(f["DIFF"]) < f["RDBD"]:
            f.post("MISS", 0)
            if f.menu("SPMG") == "Move":
                f.post("SPMG", 1)
                f.post("LSPG", 1)
        elif f["RTRY"]:
            f.post("RCNT", f["RCNT"] + 1)
            if f["RCNT"] <= f["RTRY"]:
                self._enter(Phase.RETRY)
                self._work()
                return
            f.post("MISS", 1)
        self._finish()

    def _stop(self, sync: bool) -> None:
        """Stop the motor; `sync` if it is to forget its target when it stands."""
        self._sync_at_stop = sync
        self._finish_backlash = False
        self._enter(Phase.STOP)
        self._driver.halt()

    def _finish(self) -> None:
        self._enter(Phase.DONE)
        self.fields.post("DMOV", 1)

    def _enter(self, phase: Phase) -> None:
        self._phase = phase
        self.fields.post("MIP", int(phase))

    def _held(self) -> bool:
        """A retry waiting for SPMG; nothing moves and nothing will by itself."""
        return self._phase is Phase.RETRY and self._paused

    @property
    def _paused(self) -> bool:
        return self.fields.menu("SPMG") in ("Stop", "Pause")

    def _clear_buttons(self) -> None:
        for name in ("JOGF", "JOGR", "HOMF", "HOMR"):
            self.fields.post(name, 0)

    def _read(self) -> None:
        self._driver.read(active=self._phase is not Phase.DONE)
