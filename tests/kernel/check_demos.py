"""Run in a notebook's kernel after its last cell: does every control and preset of every live demo move its picture?

Prints one JSON line per demo: how many controls, the slowest and the median redraw in milliseconds of computing,
and what is wrong with it. A demo is a pure function of its controls, so a control put back must bring the picture back.
"""

import asyncio
import json
import statistics
import sys
import time

PATIENCE = 2.0  # seconds to wait for a picture that should change,
LOOKS = 500  # and how often at least to look for it, since a busy machine may stop this process for long


def other_values(control):
    """Values a control can be moved to, the most different ones first."""
    if hasattr(control, "options"):
        values = [option[1] if isinstance(option, tuple) else option for option in control.options]
    elif isinstance(control.value, bool):
        values = [not control.value]
    elif hasattr(control, "max"):
        values = [control.max, control.min]
        if isinstance(control.value, tuple):  # a range slider
            values = [(control.min, control.min), (control.max, control.max)]
    else:
        values = []
    return [value for value in values if value != control.value]


async def move(demo, control, value):
    """Set a control and wait for a new picture. Returns the seconds it computed, or None if no picture came."""
    before, start, computed = demo.image.value, time.monotonic(), time.process_time()
    control.value, looks = value, 0
    while demo.image.value == before:
        looks += 1
        if looks > LOOKS and time.monotonic() - start > PATIENCE:
            return None
        await asyncio.sleep(0.002)
    return time.process_time() - computed


async def examine(demo):
    """One demo's JSON line. A demo reads the notebook's variables, so later cells can break it."""
    problems, redraws = [], []
    if not demo.controls:
        problems.append("it has no controls")
    if not bytes(demo.image.value).startswith(b"\x89PNG"):
        problems.append("its image is not a PNG picture")
    for name, control in demo.controls.items():
        home, picture = control.value, demo.image.value
        for value in other_values(control):
            try:
                seconds = await move(demo, control, value)
            except Exception as error:
                problems.append(f"moving {name!r} to {value!r} raises {type(error).__name__}: {error}")
                return {
                    "controls": len(demo.controls),
                    "median_ms": 0.0,
                    "slowest_ms": 0.0,
                    "problems": problems,
                }
            if seconds is None:
                control.value = home
                continue
            redraws.append(seconds)
            back = await move(demo, control, home)
            redraws += [] if back is None else [back]
            if demo.image.value != picture:
                problems.append(f"moving {name!r} away from {home!r} and back does not restore the picture")
            break
        else:
            problems.append(f"moving {name!r} away from {home!r} does not change the picture")
    for name, settings in demo.presets.items():
        picture = demo.image.value
        try:
            demo.set(**settings)
            if demo.image.value == picture:
                problems.append(f"preset {name!r} does not change the picture")
            demo.reset()
        except Exception as error:
            problems.append(f"preset {name!r} raises {type(error).__name__}: {error}")
    milliseconds = [1000 * seconds for seconds in redraws] or [0.0]
    return {
        "controls": len(demo.controls),
        "median_ms": statistics.median(milliseconds),
        "slowest_ms": max(milliseconds),
        "problems": problems,
    }


async def main():
    registered = getattr(sys.modules.get("bdlcore.notebook.demo"), "registry", [])
    for demo in list(registered):
        print("DEMO " + json.dumps(await examine(demo)))
