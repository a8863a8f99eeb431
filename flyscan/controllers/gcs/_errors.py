"""Error codes of GCS 2.0 controllers as named errors with a remedy.

Numbers: chapter "Error codes" of the PI user manuals (C-863.12 MS249E, E-727 E727T0005).
Positive numbers refuse a command, negative ones below -1023 report what happened to a motion.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...errors import (
    ConfigurationError,
    ControllerError,
    FlyscanError,
    LimitError,
    MotionError,
    NotReadyError,
)

__all__ = ["STOPPED", "gcs_error", "is_fault"]

STOPPED = 10
"""Left behind by HLT, STP and #24: expected after them."""


@dataclass(frozen=True, slots=True)
class _Meaning:
    kind: type[FlyscanError]
    text: str
    remedy: str


_DEFECT = "this is a defect of the binding or of the firmware; report it with the command"
_FIRMWARE = "check the controller model and its firmware"
_SERVO = "switch the servo on and reference the axis: run GcsMotion.servo_on() and .reference()"
_CLEAR_PATH = "check the stage for a collision, its load and its cable, then switch the servo on"
_SMALLER_WAVE = "use fewer points per curve or free tables with WCL"
_PARAMETER = "check the axis identifiers and parameters in the configuration"

_CODES: dict[int, _Meaning] = {
    1: _Meaning(ControllerError, "syntax of a parameter not understood", _DEFECT),
    2: _Meaning(ConfigurationError, "command unknown to this controller", _FIRMWARE),
    3: _Meaning(ControllerError, "command too long for the controller's buffer", _DEFECT),
    5: _Meaning(NotReadyError, "move refused: servo off or axis not referenced", _SERVO),
    7: _Meaning(
        LimitError, "position outside the travel", "keep the path and its run-up within the limits"
    ),
    8: _Meaning(
        LimitError, "velocity above the controller's maximum", "fly slower or lower the limit"
    ),
    STOPPED: _Meaning(
        MotionError,
        "motion stopped by a stop command",
        "somebody else stopped the controller: find out who before going on",
    ),
    15: _Meaning(ConfigurationError, "no such axis", _PARAMETER),
    17: _Meaning(ConfigurationError, "parameter out of its range", _PARAMETER),
    22: _Meaning(ConfigurationError, "the same axis given twice", _PARAMETER),
    23: _Meaning(ConfigurationError, "axis or channel not allowed here", _PARAMETER),
    24: _Meaning(ControllerError, "wrong number of parameters", _DEFECT),
    25: _Meaning(ControllerError, "a number was not understood", _DEFECT),
    26: _Meaning(ControllerError, "a parameter is missing", _DEFECT),
    27: _Meaning(ConfigurationError, "soft limit out of range", _PARAMETER),
    34: _Meaning(ConfigurationError, "the connected stage does not support this", _PARAMETER),
    45: _Meaning(NotReadyError, "reference move failed", _CLEAR_PATH),
    49: _Meaning(NotReadyError, "move to the limit switch failed", _CLEAR_PATH),
    50: _Meaning(
        NotReadyError, "reference mode is off", "switch it on with RON and reference again"
    ),
    51: _Meaning(NotReadyError, "axis is under joystick control", "switch the joystick off (JON)"),
    53: _Meaning(NotReadyError, "not allowed while the axis moves", "wait until the axis rests"),
    54: _Meaning(ConfigurationError, "parameter unknown to this controller", _FIRMWARE),
    60: _Meaning(ConfigurationError, "protected by a password", "raise the command level (CCL)"),
    61: _Meaning(NotReadyError, "automatic zero is running", "wait until it ends"),
    63: _Meaning(NotReadyError, "controller is still initialising", "wait some seconds, try again"),
    66: _Meaning(MotionError, "piezo voltage at its limit", "move towards mid-travel, run ATZ"),
    67: _Meaning(LimitError, "wave does not fit into the controller's memory", _SMALLER_WAVE),
    72: _Meaning(NotReadyError, "axis follows an analog input", "switch the analog target off"),
    73: _Meaning(NotReadyError, "wave generator is running", "stop it with WGO 0 first"),
    75: _Meaning(ControllerError, "wave generator started without a wave table", _DEFECT),
    76: _Meaning(ControllerError, "interface buffer overran, command lost", _DEFECT),
    89: _Meaning(NotReadyError, "not allowed in the present motion mode", "end that mode first"),
    200: _Meaning(NotReadyError, "no stage connected to the axis", "check the stage's cable"),
    215: _Meaning(NotReadyError, "connection to the stage broken", "check the stage's cable"),
    216: _Meaning(MotionError, "stage ran into a limit switch", _CLEAR_PATH),
    503: _Meaning(MotionError, "collision sensor tripped", _CLEAR_PATH),
    602: _Meaning(MotionError, "voltage fault of the hardware", "check the power supply"),
    603: _Meaning(MotionError, "hardware too hot", "let it cool down, reduce load or speed"),
    604: _Meaning(MotionError, "position error too large", _CLEAR_PATH),
    1024: _Meaning(MotionError, "position error too large, servo switched off", _CLEAR_PATH),
    1090: _Meaning(NotReadyError, "too many TCP connections", "close other clients"),
    -1024: _Meaning(MotionError, "position error too large, servo switched off", _CLEAR_PATH),
}


def gcs_error(code: int, *, device: str, command: str) -> FlyscanError:
    """The named error for a non-zero answer to ``ERR?``.

    Args:
        code: the answer.
        device: name of the controller or axis.
        command: what was sent before.
    """
    meaning = _CODES.get(code)
    if meaning is None:
        return ControllerError(
            f"{command!r} failed with error {code}",
            device=device,
            remedy=f"look up error {code} in the controller's manual",
        )
    return meaning.kind(
        f"{command!r} failed: {meaning.text} (error {code})", device=device, remedy=meaning.remedy
    )


def is_fault(code: int) -> bool:
    """True for codes that tell of the hardware rather than of a refused command."""
    meaning = _CODES.get(code)
    return code < 0 or (meaning is not None and meaning.kind is MotionError and code != STOPPED)
