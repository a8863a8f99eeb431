"""Play between a motor and what it drives."""

from __future__ import annotations

import math

from ._profile import Piece

__all__ = ["play"]


def play(pieces: list[Piece], position: float, half: float) -> list[Piece]:
    """Motion of a stage driven through backlash.

    The driven side rests until the driver has crossed the gap, then follows at distance
    `half`: the play operator, exact for monotone pieces.

    Args:
        pieces: motion of the driving side.
        position: of the driven side at the start.
        half: half the backlash, units.
    """
    driven: list[Piece] = []
    for piece in pieces:
        for part in _drive(piece, position, half):
            driven.append(part)
            position = part.at(part.duration)[0]
    return driven


def _drive(piece: Piece, position: float, half: float) -> list[Piece]:
    end = piece.at(piece.duration)[0]
    sign = math.copysign(1.0, end - piece.position)
    contact = position + sign * half
    if sign * (end - contact) <= 0:
        return [Piece(piece.duration, position, 0.0, 0.0)]
    wait = _reach(piece, contact, sign) if sign * (contact - piece.position) > 0 else 0.0
    x, v = piece.at(wait)
    rest = [Piece(wait, position, 0.0, 0.0)] if wait > 0 else []
    return [*rest, Piece(piece.duration - wait, x - sign * half, v, piece.acceleration)]


def _reach(piece: Piece, x: float, sign: float) -> float:
    """Seconds until a monotone piece reaches `x`; form of the root without cancellation."""
    distance = x - piece.position
    speed = math.sqrt(max(0.0, piece.velocity**2 + 2 * piece.acceleration * distance))
    return min(piece.duration, 2 * distance / (piece.velocity + sign * speed))
