"""The picture of a map, from its file."""

# matplotlib is only partly annotated:
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from pathlib import Path as FilePath

import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ..storage import kept_frames

__all__ = ["draw_map", "draw_speeds"]

ELEMENTS = ("Fe", "Cu", "Zn")


def draw_map(file: FilePath, picture: FilePath, shape: tuple[int, int]) -> FilePath:
    """Draw the element maps of a snake map, counts per I0 count, to a PNG.

    Args:
        file: the run's HDF5 file.
        picture: where to write.
        shape: lines and points per line.

    Returns:
        `picture`.
    """
    columns = kept_frames(file, (*ELEMENTS, "I0", "x", "y"))
    images = {name: _unsnake(column, shape) for name, column in columns.items()}
    extent = (
        float(images["x"].min()),
        float(images["x"].max()),
        float(images["y"].min()),
        float(images["y"].max()),
    )
    figure = Figure(figsize=(11, 3.9), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, element in zip(figure.subplots(1, len(ELEMENTS)), ELEMENTS, strict=True):
        image = axes.imshow(images[element] / images["I0"], origin="lower", extent=extent)
        axes.set_title(f"{element} / I0")
        axes.set_xlabel("x (µm)")
        axes.set_ylabel("y (µm)")
        figure.colorbar(image, ax=axes, shrink=0.8)
    figure.savefig(picture, dpi=110)
    return picture


def draw_speeds(file: FilePath, picture: FilePath, element: str) -> FilePath:
    """Draw what an adaptive flight saw and how fast it flew there, line by line, to a PNG.

    Args:
        file: the run's HDF5 file, of a steered flight along lines of the same axis.
        picture: where to write.
        element: the channel that drove the speed.

    Returns:
        `picture`.
    """
    names = (element, "I0", "start", "stop", "exposure", "segment", "pass")
    columns = {n: c.astype(np.float64) for n, c in kept_frames(file, names).items()}
    rate = columns[element] / columns["I0"]
    speed = np.abs(columns["stop"] - columns["start"]) / columns["exposure"]
    middle = (columns["stop"] + columns["start"]) / 2
    lines = np.unique(columns["segment"][columns["pass"] == 0])
    figure = Figure(figsize=(11, 5.2), layout="constrained")
    FigureCanvasAgg(figure)
    above, below = figure.subplots(2, 1, sharex=True)
    for number, line in enumerate(lines.tolist()):
        own = np.flatnonzero((columns["segment"] == line) & (columns["pass"] == 0))
        own = own[np.argsort(middle[own])]
        shade = {"color": f"C{number}", "label": f"line {number}"}
        above.plot(middle[own], rate[own], lw=1, **shade)
        below.plot(middle[own], speed[own], lw=1, **shade)
    back = np.flatnonzero(columns["pass"] > 0)
    below.plot(middle[back], speed[back], "k.", ms=4, label="flown again")
    above.set_ylabel(f"{element} / I0")
    below.set_ylabel("speed (µm/s)")
    below.set_xlabel("x (µm)")
    below.legend(ncols=4, fontsize="small")
    figure.savefig(picture, dpi=110)
    return picture


def _unsnake(column: npt.NDArray[np.generic], shape: tuple[int, int]) -> npt.NDArray[np.float64]:
    image = column.reshape(shape).astype(np.float64)
    image[1::2] = image[1::2, ::-1]
    return image
