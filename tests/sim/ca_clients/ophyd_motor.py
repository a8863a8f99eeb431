"""Unmodified ophyd-async Motor against the server of the environment; prints a JSON line."""

import asyncio
import json
import sys
import time

from ophyd_async.core import FlyMotorInfo, wait_for_value
from ophyd_async.epics.motor import Motor, MotorLimitsError


async def main(prefix: str) -> dict[str, object]:
    motor = Motor(prefix, name="motor")
    await motor.connect(timeout=10)
    seen: dict[str, object] = {}
    began = time.monotonic()
    updates: list[float] = []
    status = motor.set(3.0)
    status.watch(lambda **kw: updates.append(kw["current"]))
    await status
    seen["took"] = time.monotonic() - began
    seen["updates"] = len(updates)
    seen["readback"] = await motor.user_readback.get_value()
    seen["moving_after"] = (await motor.motor_done_move.get_value()) == 0
    seen["location"] = await motor.locate()
    described = (await motor.describe())["motor"]
    seen["units"], seen["precision"] = described["units"], described["precision"]
    seen["limits"] = described["limits"]
    seen["configuration"] = sorted(await motor.read_configuration())

    status = motor.set(20.0)
    await asyncio.sleep(0.5)
    await motor.stop(success=False)
    try:
        await status
    except Exception as error:
        seen["stopped_with"] = type(error).__name__
    await wait_for_value(motor.motor_done_move, 1, timeout=5)
    seen["stopped_at"] = await motor.user_readback.get_value()
    seen["setpoint_after_stop"] = await motor.user_setpoint.get_value()

    try:
        await motor.set(1000.0)
    except MotorLimitsError as error:
        seen["limit_error"] = str(error)[:40]

    await motor.set(0.0)
    await motor.prepare(FlyMotorInfo(start_position=1.0, end_position=3.0, time_for_move=1.0))
    seen["run_up"] = await motor.user_readback.get_value()
    await motor.kickoff()
    await motor.complete()
    seen["run_down"] = await motor.user_readback.get_value()
    return seen


print(json.dumps(asyncio.run(main(sys.argv[1]))))
