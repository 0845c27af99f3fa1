"""Draw the frames with which a slider of each lesson works on the site without Python: `make frames [LESSON=03]`.

Runs the cells that a lesson's first demo needs, moves one of its controls and leaves the others where they are. The
pictures lie in docs/frames, one folder for each lesson, with their words and a digest of the code that drew them:
the site shows no frames of other code.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import io
import json
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from cells_needed import cells_needed
from claims_page import number_of, read_notebook
from execute_notebooks import ROOT, ThisPythonKernel, kernel_environment, notebooks
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook
from PIL import Image

if TYPE_CHECKING:
    from bdlcore.notebook.demo import Demo

FRAMES = ROOT / "docs" / "frames"
SWEPT = {"01": "samples", "12": "distance"}  # others move their first slider
BEGUN = {"08": "Bayes"}  # a preset from which the others start; of a single draw there is little to see
MOST = 12  # frames of a lesson
QUIET = "bdl.guess = bdl.answer = bdl.tally = lambda *_, **__: None  # nobody is asked"


def cells_of(lesson: dict) -> list[str]:
    """The code of the cells that a lesson's first demo needs, itself last; [] where there is no demo."""
    sources = ["".join(cell["source"]) if cell["cell_type"] == "code" else "" for cell in lesson["cells"]]
    demo = next((i for i, source in enumerate(sources) if "bdl.demo(" in source), None)
    if demo is None:
        return []
    setup = [i for i, source in enumerate(sources[:demo]) if "bdl.setup(" in source]
    return [sources[i] for i in cells_needed(sources, [*setup, demo])]


def digest(cells: list[str]) -> str:
    return hashlib.sha256("\0".join(cells).encode()).hexdigest()[:16]


def draw(path: Path, folder: Path) -> None:
    """Draw the frames of a lesson's first demo into a folder of its own."""
    cells = cells_of(read_notebook(path))
    name, preset = SWEPT.get(number_of(path)), BEGUN.get(number_of(path))
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    last = (
        f"import sys\nsys.path.insert(0, {str(Path(__file__).parent)!r})\nimport demo_frames\n"
        "from bdlcore.notebook.demo import registry\n"
        f"demo_frames.sweep(registry[0], {name!r}, {str(folder)!r}, {digest(cells)!r}, {preset!r})"
    )
    code = [new_code_cell(cell) for cell in (cells[0], QUIET, *cells[1:], last)]
    client = NotebookClient(
        new_notebook(cells=code),
        kernel_manager_class=ThisPythonKernel,
        timeout=1800,
        resources={"metadata": {"path": str(path.parent)}},
        store_widget_state=False,
    )
    asyncio.run(client.async_execute(env=kernel_environment(path)))


def sweep(demo: Demo, name: str | None, folder: str, code: str, preset: str | None = None) -> None:
    """Move one control, by default the first slider, and save a frame at each place, with its words.

    The others stay where a preset puts them, or where they start.
    """
    demo.set(**demo.presets[preset] if preset else {})
    name = name or next((n for n, c in demo.controls.items() if not is_choice(c)), [*demo.controls][0])
    control = demo.controls[name]
    start, frames = control.value, []
    for i, value in enumerate(places(control)):
        demo.set(**{name: value})
        shown = f"{value:g}" if isinstance(value, int | float) else str(value)
        frames.append({"value": shown, "words": demo.image.tooltip})
        Image.open(io.BytesIO(demo.image.value)).convert("RGB").save(
            Path(folder) / f"{i}.webp", quality=75, method=6
        )
    demo.reset()
    kept = {
        "control": name.replace("_", " "),
        "start": places(control).index(start),
        "code": code,
        "frames": frames,
    }
    text = json.dumps(kept, indent=1, ensure_ascii=False) + "\n"
    (Path(folder) / "frames.json").write_text(text, encoding="utf-8")


def is_choice(control: object) -> bool:
    return type(control).__name__ == "ToggleButtons"


def places(control: object) -> list:
    """At most MOST places of a control, its value and its ends among them; counts from 1 in equal ratios."""
    if hasattr(control, "options"):
        values = [option[1] if isinstance(option, tuple) else option for option in control.options]
    else:
        steps = round((control.max - control.min) / control.step)
        values = [round(control.min + k * control.step, 9) for k in range(steps + 1)]
        at = min(range(steps + 1), key=lambda k: abs(values[k] - control.value))
        values[at] = control.value  # bit for bit
    last = len(values) - 1
    if last < MOST:
        return values
    if isinstance(values[0], int) and values[0] == 1:
        chosen = {round((last + 1) ** (k / (MOST - 2))) - 1 for k in range(MOST - 1)}
    else:
        chosen = {round(last * k / (MOST - 2)) for k in range(MOST - 1)}
    return [values[k] for k in sorted({*chosen, values.index(control.value)})]


def main(arguments: Iterable[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lesson", default="", help="the number of one lesson, such as 03 (default: all)")
    wanted = parser.parse_args(arguments).lesson
    lessons = [path for path in notebooks("lessons") if wanted in ("", number_of(path))]
    lessons = [path for path in lessons if cells_of(read_notebook(path))]
    if not lessons:
        print(f"There is no lesson {wanted!r} with a demo.", file=sys.stderr)
        return 1
    for path in lessons:
        draw(path, FRAMES / path.stem)
        print(f"{path.stem}: {len([*(FRAMES / path.stem).glob('*.webp')])} frames", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
