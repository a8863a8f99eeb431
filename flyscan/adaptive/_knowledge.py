"""What earlier rows taught about a place: curvature and noise on a grid of positions."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..flight import FloatArray
from ._estimate import Sampled, curvature_on, dilated, on_grid

__all__ = ["Knowledge", "grid_nodes"]

NODES_PER_WIDTH = 8
MEMORY = 0.5


def grid_nodes(length: float, width: float) -> int:
    """How many nodes resolve features of `width` on a line of `length`."""
    return max(32, round(NODES_PER_WIDTH * length / width)) + 1


class Knowledge:
    """Curvature and noise of a family of lines, learnt row by row and forgotten line by line.

    Args:
        grid: ascending positions of the nodes.
        lines: how many independent lines are learnt together.
    """

    def __init__(self, grid: FloatArray, lines: int = 1) -> None:
        self.grid = grid
        self.curvature = np.zeros((lines, len(grid)))
        self.noise = np.zeros((lines, len(grid)))
        self.covered = np.zeros((lines, len(grid)), dtype=np.bool_)

    @property
    def complete(self) -> bool:
        """Whether every place has been seen."""
        return bool(self.covered.all())

    def begin(self, curves: list[Sampled], shift: float) -> None:
        """Make room for what a line taught, from the curve of every pass over it.

        Where it has rows, what was found before counts half: it may have been noise. Elsewhere
        it is kept, because rows may only be late, but features may have moved by `shift` since.
        """
        inside = np.zeros_like(self.covered)
        for curve in curves:
            inside |= self._inside(curve)
        moved = dilated(self.curvature, shift, self.grid[1] - self.grid[0])
        self.curvature = np.where(inside, MEMORY * self.curvature, moved)

    def learn(self, curve: Sampled, reach: float = 0.0) -> None:
        """Take in rows of the lines, shape ``(lines, rows)``; where they are, theirs is the noise.

        Args:
            curve: shape ``(lines, rows)`` or, for one line, ``(rows,)``.
            reach: how far from where it was seen a feature may be in the next line.
        """
        inside = self._inside(curve)
        found = np.where(inside, curvature_on(self.grid, curve), 0.0)
        found = dilated(found, reach, self.grid[1] - self.grid[0])
        self.curvature = np.maximum(self.curvature, found)
        self.noise = np.where(inside, on_grid(self.grid, curve.edges, curve.variance), self.noise)
        self.covered |= inside

    def _inside(self, curve: Sampled) -> npt.NDArray[np.bool_]:
        """Nodes a curve has rows at, to half a node.

        A row less than its length away from an end of the line is the last there: the stage was
        there all the time, but the detector was not live until the very end.
        """
        half = 0.5 * (self.grid[1] - self.grid[0])
        low, high = curve.edges[..., :1], curve.edges[..., -1:]
        first, last = self.grid[0], self.grid[-1]
        low = np.where(low - first < curve.length[..., :1], np.minimum(low, first), low)
        high = np.where(last - high < curve.length[..., -1:], np.maximum(high, last), high)
        return np.atleast_2d((self.grid >= low - half) & (self.grid <= high + half))
