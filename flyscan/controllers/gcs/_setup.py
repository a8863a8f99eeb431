"""What users do before flying: servos on, reference moves."""

from __future__ import annotations

from collections.abc import Collection

from ...errors import NotReadyError, WatchdogError
from ._codec import Answer
from ._controller import GcsController, poll_interval

__all__ = ["reference", "servo_on"]

_REFERENCE_S = 120.0
_READY = "\xb1"


async def servo_on(controller: GcsController, users: Collection[str]) -> None:
    """Switch servos on; the axes hold their places.

    Raises:
        NotReadyError: a servo went off again at once.
    """
    await controller.set_flags("SVO", users)
    for user, on in (await controller.flags("SVO?", users)).items():
        if not on:
            raise NotReadyError(
                "the servo does not stay on",
                device=f"{controller.name} {user}",
                remedy="check the stage's cable, the power supply and the interlock",
            )


async def reference(controller: GcsController, users: Collection[str]) -> None:
    """Make reference moves: the axes travel to their reference switches.

    Boxes with absolute sensors need none; there nothing happens.

    Raises:
        NotReadyError: a reference move failed.
        WatchdogError: it did not end within two minutes.
    """
    if not controller.lists("FRF", "FRF?"):
        return
    if controller.lists("RON", "RON?"):
        off = [user for user, on in (await controller.flags("RON?", users)).items() if not on]
        if off:
            await controller.set_flags("RON", off)
    await controller.link.command("FRF", *(controller.axes[user].id for user in users))
    await _until_ready(controller)
    for user, done in (await controller.flags("FRF?", users)).items():
        if not done:
            raise NotReadyError(
                "the reference move failed",
                device=f"{controller.name} {user}",
                remedy="check the reference switch and that the whole travel is free",
            )


async def _until_ready(controller: GcsController) -> None:
    def ready(answer: Answer) -> bool:
        return answer == (_READY,)

    since = controller.clock.now()
    while not await controller.link.query(ready, "#7"):
        waited = controller.clock.now() - since
        if waited > _REFERENCE_S:
            raise WatchdogError(
                f"reference move still under way after {waited:.0f} s",
                device=controller.name,
                remedy="check the reference switch, stop the controller and try again",
            )
        await controller.clock.sleep(poll_interval(waited))
