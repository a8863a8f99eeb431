"""Several policies as one, and policies as data."""

from __future__ import annotations

import importlib
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any, cast

from ..errors import ConfigurationError
from ._policy import LineContext, Plan, Policy, Proposal, Situation
from ._rows import Rows

__all__ = ["Composite", "policy_from_dict", "require_allowed"]


HOW_TO_ALLOW = (
    "list it under `policies` in the host's configuration, or register it as an entry point "
    "'flyscan.policies'"
)


def require_allowed(data: Any, listed: Collection[str], remedy: str = HOW_TO_ALLOW) -> None:
    """Check that only policies that may be loaded are named, at any depth of `data`.

    Those of flyscan may be, those that are listed, and those that installed packages register
    as entry points ``flyscan.policies``.

    Raises:
        ConfigurationError: another class is named.
    """
    registered = {point.value for point in entry_points(group="flyscan.policies")}
    for path in _classes_named(data):
        ours = re.fullmatch(r"flyscan\.adaptive:\w+", path) is not None
        if not ours and path not in registered and path not in listed:
            raise ConfigurationError(
                f"this process may not load {path!r}", device="policy", remedy=remedy
            )


def _classes_named(data: Any) -> Iterator[str]:
    if isinstance(data, Mapping):
        found = cast("Mapping[str, Any]", data)
        if "class" in found:
            yield str(found["class"])
        for value in found.values():
            yield from _classes_named(value)
    elif isinstance(data, list | tuple):
        for value in cast("Sequence[Any]", data):
            yield from _classes_named(value)


def policy_from_dict(data: Mapping[str, Any]) -> Policy:
    """Build a policy from its class path and parameters.

    Args:
        data: ``{"class": "package.module:Name", "params": {...}}``.

    Raises:
        ConfigurationError: there is no such class, it is no policy, or it refuses the
            parameters.
    """
    path = str(data.get("class", ""))
    module, _, name = path.partition(":")
    try:
        found: Any = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigurationError(
            f"no policy {path!r}: {error}",
            device="policy",
            remedy="write it as 'package.module:ClassName'",
        ) from error
    if not (isinstance(found, type) and issubclass(found, Policy)):
        raise ConfigurationError(
            f"{path!r} is no policy", device="policy", remedy="name a subclass of Policy"
        )
    try:
        return found(**data.get("params", {}))
    except TypeError as error:
        raise ConfigurationError(
            f"{path} refuses its parameters: {error}",
            device="policy",
            remedy="correct the names of the parameters",
        ) from error


@dataclass(eq=False)
class Composite(Policy):
    """Asks its policies in order of priority; the first that wants something gets it.

    Guards come first, then the budget, then one policy for the speed, whose plan is flown after
    the others reviewed it.

    Args:
        policies: policies, or their JSON-able form.
    """

    policies: Sequence[Policy | Mapping[str, Any]]

    def __post_init__(self) -> None:
        self._parts = [
            part if isinstance(part, Policy) else policy_from_dict(part) for part in self.policies
        ]
        if not self._parts:
            raise ConfigurationError(
                "a composite of no policies", device="policy", remedy="give at least one"
            )

    def params(self) -> dict[str, Any]:
        """JSON-able constructor parameters."""
        return {"policies": [part.to_dict() for part in self._parts]}

    def begin(self, line: LineContext) -> Plan:
        """The first plan with a profile, else the last policy's, reviewed by the others."""
        plans = [part.begin(line) for part in self._parts]
        chosen = next((plan for plan in plans if plan.profile is not None), plans[-1])
        for part in self._parts:
            chosen = part.review(chosen, line)
        return chosen

    def review(self, plan: Plan, line: LineContext) -> Plan:
        """Already done for its own plan."""
        return plan

    def tell(self, rows: Rows) -> None:
        """Hand the block to every policy, as the ones before it pass it on."""
        for part in self._parts:
            part.tell(rows)
            rows = part.pass_on(rows)

    def ask(self, now: Situation) -> Proposal | None:
        """The first proposal in order of priority."""
        for part in self._parts:
            proposal = part.ask(now)
            if proposal is not None:
                return proposal
        return None

    def needed_channels(self) -> tuple[str, ...]:
        """Channels that one of them needs."""
        return tuple(dict.fromkeys(c for part in self._parts for c in part.needed_channels()))

    def end(self) -> dict[str, Any]:
        """Summaries of all."""
        return {"policy": "Composite", "parts": [part.end() for part in self._parts]}
