"""Finding what a command is about: ``block[number][.field[.attribute]]``."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ._device import Device
from ._fields import Attribute, Field
from ._layout import BlockSpec, ColumnSpec
from ._text import CommandError, require_end

__all__ = ["Target", "find"]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PLAIN_NAME = re.compile(r"[A-Za-z_]+")


@dataclass(slots=True)
class Target:
    """What a name stands for: block, then field, then attribute or column; `star` for ``.*``."""

    block: BlockSpec
    field: Field | None = None
    attribute: Attribute | None = None
    column: ColumnSpec | None = None
    star: bool = False


def find(device: Device, text: str, *, numbered: bool, star: bool, columns: bool = False) -> Target:
    """Resolve a name.

    Args:
        numbered: a field of a block with several instances must say which.
        star: ``.*`` is allowed.
        columns: ``[].COLUMN`` is allowed.

    Raises:
        CommandError: with the server's own words.
    """
    block, number, explicit, rest = _block(device, text)
    target = Target(block)
    if rest.startswith("."):
        rest = _field(device, target, number, rest[1:], star=star)
        if rest.startswith(".") and not target.star:
            rest = _attribute(target, rest[1:], star=star)
        elif columns and rest.startswith("["):
            rest = _column(target, rest)
        if numbered and not target.star and not explicit and block.count > 1:
            raise CommandError("Missing block number")
    require_end(rest)
    return target


def _block(device: Device, text: str) -> tuple[BlockSpec, int, bool, str]:
    match = _NAME.match(text)
    if match is None:
        raise CommandError("No name found")
    name = match.group().rstrip("0123456789")
    digits = match.group()[len(name) :]
    block = device.layout.blocks.get(name)
    if block is None:
        raise CommandError("No such block")
    number = int(digits) if digits else 1
    if not 1 <= number <= block.count:
        raise CommandError("Invalid block number")
    return block, number, bool(digits), text[match.end() :]


def _field(device: Device, target: Target, number: int, text: str, *, star: bool) -> str:
    if star and text.startswith("*"):
        target.star = True
        return text[1:]
    match = _NAME.match(text)
    if match is None:
        raise CommandError("No name found")
    target.field = device.fields[target.block.instance(number)].get(match.group())
    if target.field is None:
        raise CommandError("No such field")
    return text[match.end() :]


def _attribute(target: Target, text: str, *, star: bool) -> str:
    if star and text.startswith("*"):
        target.star = True
        return text[1:]
    match = _PLAIN_NAME.match(text)
    if match is None:
        raise CommandError("No name found")
    attributes = target.field.attributes if target.field else {}
    target.attribute = attributes.get(match.group())
    if target.attribute is None:
        raise CommandError("No such attribute")
    return text[match.end() :]


def _column(target: Target, text: str) -> str:
    if not text.startswith("[]."):
        raise CommandError("Character ']' expected")
    match = _NAME.match(text, 3)
    if match is None:
        raise CommandError("No name found")
    columns = target.field.spec.columns if target.field else ()
    target.column = next((c for c in columns if c.name == match.group()), None)
    if target.column is None:
        raise CommandError("No such table sub-field")
    return text[match.end() :]
