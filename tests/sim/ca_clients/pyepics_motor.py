"""Unmodified pyepics Motor against the server named by the environment; prints one JSON line."""

import json
import sys
import time

import epics

motor = epics.Motor(sys.argv[1], timeout=10)
seen: dict[str, object] = {"type": motor.get("RTYP"), "description": motor.description}
updates: list[float] = []
motor.PV("RBV").add_callback(lambda value, **_: updates.append(value))
began = time.monotonic()
seen["moved"] = motor.move(2.0, wait=True, timeout=10)
seen["took"] = time.monotonic() - began
seen["readback"] = motor.get_position(readback=True)
seen["beyond"] = motor.move(1000.0, wait=True, timeout=5, ignore_limits=True)
seen["tweak"] = motor.tweak(direction="forward", wait=True, timeout=10)
seen["after_tweak"] = motor.get_position(readback=True)
motor.set_position(0.0)
seen["offset"] = motor.offset
motor.slew_speed = 1.0
motor.move(15.0)
time.sleep(0.5)
motor.stop()
deadline = time.monotonic() + 5
while not motor.get("DMOV") and time.monotonic() < deadline:
    time.sleep(0.02)
seen["stopped_at"] = motor.get_position(readback=True)
seen["updates"] = len(updates)
seen["state"] = epics.caget(sys.argv[1] + ".SPMG", as_string=True)
print(json.dumps(seen))
