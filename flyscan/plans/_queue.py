"""What a queueserver is told about the parameters of plans."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["queueable"]

P = TypeVar("P", bound=Callable[..., Any])

ANNOTATIONS = {
    "flyer": "__FLYABLE__",
    "spec": "dict",
    "specs": "typing.List[dict]",
    "axes": "typing.Union[str, float]",
    "period": "typing.Optional[float]",
    "snake": "bool",
    "trigger": "str",
    "detectors": "typing.List[__READABLE__]",
    "exposure": "typing.Optional[float]",
    "channel": "typing.Optional[str]",
    "width": "typing.Optional[float]",
    "policy": "typing.Optional[dict]",
    "target_error": "typing.Optional[float]",
    "extra": "float",
    "others": "typing.List[str]",
    "i0": "typing.Optional[str]",
    "nominal_i0": "typing.Optional[float]",
    "beam": "typing.Optional[dict]",
    "time_limit": "typing.Optional[float]",
    "pixel": "typing.Optional[float]",
    "pixel_dose": "typing.Optional[float]",
    "total_dose": "typing.Optional[float]",
    "max_raise": "float",
    "worker": "bool",
    "tuning": "typing.Any",
    "md": "typing.Optional[dict]",
}


def queueable(function: P) -> P:
    """Let bluesky-queueserver run a plan from its queue.

    It evaluates annotations in a namespace of its own, where our types are unknown, and takes
    strings for devices wherever it does not know better: an axis called "x" would turn into a
    device of that name. So the parameters are described in its own words, as its
    ``parameter_annotation_decorator`` would (bluesky-queueserver documentation, "Annotating
    Bluesky Plans"), but without depending on it.
    """
    parameters = inspect.signature(function).parameters
    told = {name: {"annotation": ANNOTATIONS[name]} for name in parameters}
    setattr(function, "_custom_parameter_annotation_", {"parameters": told})  # noqa: B010
    return function
