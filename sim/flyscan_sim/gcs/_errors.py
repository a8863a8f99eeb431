"""Controller error codes of the PI General Command Set (list in every PI manual, e.g. MS249E)."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["Code", "Refusal"]


class Code(IntEnum):
    """What ``ERR?`` answers. Negative numbers are asynchronous motion errors."""

    NO_ERROR = 0
    PARAM_SYNTAX = 1
    UNKNOWN_COMMAND = 2
    COMMAND_TOO_LONG = 3
    NO_REFERENCE_OR_SERVO_OFF = 5
    POSITION_LIMIT = 7
    VELOCITY_LIMIT = 8
    STOPPED = 10
    INVALID_AXIS = 15
    OUT_OF_RANGE = 17
    AXIS_TWICE = 22
    PARAM_COUNT = 24
    INVALID_NUMBER = 25
    REFERENCE_SWITCHED_OFF = 50
    UNKNOWN_PARAMETER = 54
    INVALID_RECORD_TABLE = 57
    INVALID_RECORD_OPTION = 58
    INVALID_RECORD_SOURCE = 59
    READ_ONLY_PARAMETER = 64
    WAVE_TOO_LARGE = 67
    WAVE_GENERATOR_ACTIVE = 73
    NO_WAVE_SELECTED = 75
    NOT_ENOUGH_RECORDED = 77
    REFERENCE_SWITCHED_ON = 88
    MOTION_ERROR = -1024


class Refusal(Exception):  # noqa: N818  it is an answer of the box, not a failure of the simulator
    """The controller refuses a command: nothing is executed, ``ERR?`` tells the code."""

    def __init__(self, code: Code) -> None:
        self.code = code
        super().__init__(code)
