"""What a steered flight is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..errors import ConfigurationError

__all__ = ["SteeringConfig"]


@dataclass(frozen=True, slots=True)
class SteeringConfig:
    """What a steered flight is told, JSON-able.

    Args:
        policy: class path and parameters, see :func:`policy_from_dict`.
        extra: seconds a line may take beyond the uniform one, as a share of that.
        max_raise: largest factor by which one decision may raise the speed.
        time_limit: seconds the flight may take; None for no limit.
        patience: seconds a call of the policy may take before it is switched off.
        worker: run the policy in a process of its own, for policies that compute for long.
        i0: channel of the incident flux; None if there is none.
        nominal_i0: its usual counts per second; None to take the median of the first block.
    """

    policy: Mapping[str, Any]
    extra: float = 0.2
    max_raise: float = 1.5
    time_limit: float | None = None
    patience: float = 1.0
    worker: bool = False
    i0: str | None = None
    nominal_i0: float | None = None

    def __post_init__(self) -> None:
        positive = {"max_raise": self.max_raise, "patience": self.patience}
        if self.time_limit is not None:
            positive["time_limit"] = self.time_limit
        if self.nominal_i0 is not None:
            positive["nominal_i0"] = self.nominal_i0
        wrong = {n: v for n, v in positive.items() if not (np.isfinite(v) and v > 0)}
        if not (np.isfinite(self.extra) and self.extra >= 0):
            wrong["extra"] = self.extra
        if wrong:
            raise ConfigurationError(
                f"makes no sense: {', '.join(f'{n} = {v}' for n, v in wrong.items())}",
                device="steering",
                remedy="give positive numbers; extra may be 0",
            )

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> SteeringConfig:
        """Read the JSON form.

        Raises:
            ConfigurationError: unknown or missing entries, or numbers without sense.
        """
        try:
            return cls(**data)
        except TypeError as exc:
            raise ConfigurationError(
                f"cannot be read: {exc}",
                device="steering",
                remedy="give policy, and of extra, max_raise, time_limit, patience, worker, i0, "
                "nominal_i0 what should differ from the default",
            ) from exc

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return asdict(self)
