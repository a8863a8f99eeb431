"""The adaptive loop: policies, guard rails, decisions, replay and regridding.

Pure: numpy and scipy, no device, no clock, no bluesky. A flight drives it through
:class:`Steering`; :class:`SimulatedLine` does the same on paper.
"""

from ._beam import BeamGuard
from ._budget import Budget
from ._composite import Composite, policy_from_dict
from ._curvature import CurvatureSpeed
from ._estimate import Sampled, curvature_on, poisson_variance
from ._parametric import Parametric
from ._pilot import AdaptivePilot
from ._plan import Planned, Task, plan_speed
from ._policy import (
    Finish,
    Flag,
    GoBack,
    Hold,
    LineContext,
    Plan,
    Policy,
    Proposal,
    Resume,
    Retune,
    Situation,
    proposal_from_dict,
)
from ._prior import PriorSpeed
from ._profile import Profile
from ._rails import GuardRail, Ruling
from ._record import RecordedFlight
from ._regrid import Regridded, regrid_line
from ._regrid_file import RegriddedMap, regrid
from ._replay import (
    Asked,
    Began,
    Ended,
    Event,
    SwitchedOff,
    Told,
    first_difference,
    replay,
)
from ._replay_file import ReplayedFlight, replay_file
from ._rows import Rows
from ._rows_of import rows_of
from ._simulate import Flown, SimulatedLine
from ._stability import StabilityGuard
from ._steering import Decision, Steering
from ._steering_config import SteeringConfig
from ._step import StepSize
from ._two_pass import TwoPass

__all__ = [
    "AdaptivePilot",
    "Asked",
    "BeamGuard",
    "Began",
    "Budget",
    "Composite",
    "CurvatureSpeed",
    "Decision",
    "Ended",
    "Event",
    "Finish",
    "Flag",
    "Flown",
    "GoBack",
    "GuardRail",
    "Hold",
    "LineContext",
    "Parametric",
    "Plan",
    "Planned",
    "Policy",
    "PriorSpeed",
    "Profile",
    "Proposal",
    "RecordedFlight",
    "Regridded",
    "RegriddedMap",
    "ReplayedFlight",
    "Resume",
    "Retune",
    "Rows",
    "Ruling",
    "Sampled",
    "SimulatedLine",
    "Situation",
    "StabilityGuard",
    "Steering",
    "SteeringConfig",
    "StepSize",
    "SwitchedOff",
    "Task",
    "Told",
    "TwoPass",
    "curvature_on",
    "first_difference",
    "plan_speed",
    "poisson_variance",
    "policy_from_dict",
    "proposal_from_dict",
    "regrid",
    "regrid_line",
    "replay",
    "replay_file",
    "rows_of",
]
