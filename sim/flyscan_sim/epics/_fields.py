"""Fields of the motor record as data: type, initial value, who may write, what processes it.

Names, types, menus and process-passive flags are those of EPICS motor 7 (motorRecord.dbd).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

__all__ = ["FIELDS", "MENUS", "FieldSpec", "Kind", "Value"]

Value = float | int | str
"""A field's value; menus hold their index."""


class Kind(StrEnum):
    """Type of a field on the wire."""

    DOUBLE = "double"
    LONG = "long"
    SHORT = "short"
    STRING = "string"
    TEXT = "text"
    MENU = "menu"


@dataclass(frozen=True)
class FieldSpec:
    """One field.

    Attributes:
        kind: type on the wire.
        initial: value before the record is set up.
        writable: clients may write it.
        processes: writing it processes the record (``pp(TRUE)``).
        menu: name in :data:`MENUS` of a menu field.
    """

    kind: Kind
    initial: Value
    writable: bool = False
    processes: bool = False
    menu: str = ""


MENUS: Final[dict[str, tuple[str, ...]]] = {
    "DIR": ("Pos", "Neg"),
    "SET": ("Use", "Set"),
    "FOFF": ("Variable", "Frozen"),
    "SPMG": ("Stop", "Pause", "Move", "Go"),
    "UEIP": ("No", "Yes"),
    "SEVR": ("NO_ALARM", "MINOR", "MAJOR", "INVALID"),
    "STAT": ("NO_ALARM", "READ", "WRITE", "HIHI", "HIGH", "LOLO", "LOW", "STATE"),
}


def _double(names: str, writable: bool, processes: bool = False) -> dict[str, FieldSpec]:
    return {n: FieldSpec(Kind.DOUBLE, 0.0, writable, processes) for n in names.split()}


def _short(names: str, writable: bool, processes: bool = False) -> dict[str, FieldSpec]:
    return {n: FieldSpec(Kind.SHORT, 0, writable, processes) for n in names.split()}


def _menu(name: str, initial: int, writable: bool, processes: bool, menu: str = "") -> FieldSpec:
    return FieldSpec(Kind.MENU, initial, writable, processes, menu or name)


FIELDS: Final[dict[str, FieldSpec]] = {
    **_double("VAL DVAL RLV OFF", writable=True, processes=True),
    **_double("RBV DRBV DIFF LVAL LDVL MRES ERES UREV", writable=False),
    **_double("VELO VBAS VMAX BVEL HVEL JVEL JAR ACCL BACC BDST RDBD DLY TWV", writable=True),
    **_double("HLM LLM DHLM DLLM", writable=True, processes=True),
    **_short("STOP JOGF JOGR HOMF HOMR TWF TWR", writable=True, processes=True),
    **_short("DMOV MOVN LVIO HLS LLS RHLS RLLS TDIR CDIR ATHM RCNT MISS MIP", writable=False),
    **_short("RTRY PREC NTM NTMF", writable=True),
    "RVAL": FieldSpec(Kind.LONG, 0, writable=True, processes=True),
    "RRBV": FieldSpec(Kind.LONG, 0),
    "REP": FieldSpec(Kind.LONG, 0),
    "RMP": FieldSpec(Kind.LONG, 0),
    "RDIF": FieldSpec(Kind.LONG, 0),
    "LRVL": FieldSpec(Kind.LONG, 0),
    "MSTA": FieldSpec(Kind.LONG, 0),
    "SREV": FieldSpec(Kind.LONG, 200),
    "DIR": _menu("DIR", 0, writable=True, processes=True),
    "SPMG": _menu("SPMG", 3, writable=True, processes=True),
    "LSPG": _menu("LSPG", 3, writable=False, processes=False, menu="SPMG"),
    "SET": _menu("SET", 0, writable=True, processes=True),
    "FOFF": _menu("FOFF", 0, writable=True, processes=False),
    "UEIP": _menu("UEIP", 1, writable=False, processes=False),
    "SEVR": _menu("SEVR", 0, writable=False, processes=False),
    "STAT": _menu("STAT", 0, writable=False, processes=False),
    "EGU": FieldSpec(Kind.STRING, "", writable=True),
    "DESC": FieldSpec(Kind.STRING, "", writable=True),
    "NAME": FieldSpec(Kind.STRING, ""),
    "RTYP": FieldSpec(Kind.STRING, "motor"),
    "DTYP": FieldSpec(Kind.STRING, "flyscan-sim"),
    "OUT": FieldSpec(Kind.STRING, "@flyscan-sim"),
}
"""All fields served, by name. Resolutions are fixed by the axis and not writable."""
