"""Commands about the box itself: identity, help, axes, parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ._codec import groups, integer
from ._errors import Code, Refusal
from ._profile import Profile, RecorderLimits

if TYPE_CHECKING:
    from ._axis import GcsAxis
    from ._controller import Handler
    from ._recorder import Recorder

__all__ = ["System"]

_FIRST_ITEM = "1"


@dataclass(frozen=True)
class _Parameter:
    kind: str
    title: str
    value: Callable[[GcsAxis | None], str]
    write: Callable[[str], None] | None = None


class System:
    """What a client asks first.

    Args:
        profile: the controller model.
        axes: connected axes by identifier.
        recorder: for parameters that concern it.
    """

    def __init__(
        self, profile: Profile, axes: dict[str, GcsAxis], recorder: Recorder | None
    ) -> None:
        self._profile = profile
        self._axes = axes
        self._parameters = _parameters(profile, recorder)

    def commands(self) -> dict[str, Handler]:
        """Handlers by mnemonic."""
        return {
            "*IDN?": lambda args: [self._profile.idn],
            "CSV?": lambda args: ["2.0"],
            "VER?": lambda args: [f"FW_ARM: {self._profile.idn.rsplit(',', 1)[1].strip()}"],
            "HLP?": self._help,
            "HPA?": self._list_parameters,
            "SPA": self._write_parameters,
            "SPA?": self._read_parameters,
            "SAI?": self._identifiers,
            "CST?": self._stages,
        }

    def _help(self, args: Sequence[str]) -> list[str]:
        titles = [f"{name} {title}" for name, title in self._profile.commands.items()]
        return ["The following commands are valid:", *titles, "end of help"]

    def _identifiers(self, args: Sequence[str]) -> list[str]:
        return list(self._profile.axis_ids) if args else list(self._axes)

    def _stages(self, args: Sequence[str]) -> list[str]:
        names = list(args) or list(self._profile.axis_ids)
        if any(name not in self._profile.axis_ids for name in names):
            raise Refusal(Code.INVALID_AXIS)
        return [
            f"{name}={self._axes[name].stage.name if name in self._axes else 'NOSTAGE'}"
            for name in names
        ]

    def _list_parameters(self, args: Sequence[str]) -> list[str]:
        lines = [
            f"0x{number:08x}=\t0\t1\t{parameter.kind}\tPI\t{parameter.title}"
            for number, parameter in self._parameters.items()
        ]
        return ["The following parameters are valid:", *lines, "end of help"]

    def _read_parameters(self, args: Sequence[str]) -> list[str]:
        everything = [(_FIRST_ITEM, str(number)) for number in self._parameters]
        return [self._read_parameter(*pair) for pair in (groups(args, 2) if args else everything)]

    def _read_parameter(self, item: str, text: str) -> str:
        parameter = self._parameter(item, text)
        return f"{item} {text}={parameter.value(self._axes.get(item))}"

    def _write_parameters(self, args: Sequence[str]) -> None:
        for item, text, value in groups(args, 3):
            write = self._parameter(item, text).write
            if write is None:
                raise Refusal(Code.READ_ONLY_PARAMETER)
            write(value)  # there is but one that can be written: no line is half executed

    def _parameter(self, item: str, text: str) -> _Parameter:
        number = integer(text, 0, 2**32 - 1)
        if number not in self._parameters:
            raise Refusal(Code.UNKNOWN_PARAMETER)
        if item not in self._profile.axis_ids:
            raise Refusal(Code.INVALID_AXIS)
        return self._parameters[number]


def _parameters(profile: Profile, recorder: Recorder | None) -> Mapping[int, _Parameter]:
    """Parameters by number (parameter overviews of E727T0005 and MS249E)."""
    window, settle = (0x36, 0x3F) if profile.incremental else (0x07000900, 0x07000901)

    def tolerance(axis: GcsAxis | None) -> str:
        if profile.incremental or axis is None:
            return f"{profile.window:.6e}"  # motors count
        return f"{profile.window * axis.stage.resolution:.6e}"  # piezos measure

    found = {
        window: _Parameter("FLOAT", "On Target Tolerance", tolerance),
        settle: _Parameter("FLOAT", "Settling Time", lambda axis: f"{profile.settle:.6e}"),
        0x0E000200: _Parameter(
            "FLOAT", "Servo Update Time", lambda axis: f"{profile.servo_cycle:.6e}"
        ),
    }
    if recorder is not None and profile.recorder is not None:
        found |= _recorder_parameters(recorder, profile.recorder)
    return dict(sorted(found.items()))


def _recorder_parameters(recorder: Recorder, limits: RecorderLimits) -> dict[int, _Parameter]:
    points, tables = str(limits.tables * limits.points), str(limits.tables)
    return {
        0x16000000: _Parameter(
            "INT", "Data Recorder Table Rate", lambda axis: str(recorder.rate), recorder.set_rate
        ),
        0x16000200: _Parameter("INT", "Data Recorder Max Points", lambda axis: points),
        0x16000300: _Parameter("INT", "Data Recorder Chan Number", lambda axis: tables),
    }
