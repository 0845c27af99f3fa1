"""The rooms of bdlcore: imports run downwards only, and the map in bdlcore/README.md names every room."""

import ast
import re
from pathlib import Path

import pytest

import bdlcore

PACKAGE = Path(bdlcore.__file__).parent
# from top to bottom: a room may import from those after it, and from itself
ROOMS = (
    "exercises",
    "evaluation",
    "inference",
    "curvature",
    "dynamics",
    "exact",
    "notebook",
    "restoration",
    "models",
    "likelihoods",
    "predictions",
    "data",
    "nets",
    "_support",
)
EMPTY = {"_support", "curvature", "evaluation", "exact", "inference", "likelihoods", "models", "notebook"}
EMPTY |= {"predictions", "restoration"}


def modules():
    return sorted(path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE)


def imported(path: Path) -> set[str]:
    """The modules of bdlcore that a module imports, wherever in it, as dotted names below bdlcore."""
    found, here = set(), path.relative_to(PACKAGE).with_suffix("").parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            base = here[: -node.level] if node.level else ()
            name = node.module.split(".") if node.module else []
            if not node.level:
                if name[0] != "bdlcore":
                    continue
                name = name[1:]
            target = [*base, *name]
            found |= (
                {".".join([*target, alias.name]) for alias in node.names}
                if target
                else {alias.name for alias in node.names}
            )
        elif isinstance(node, ast.Import):
            found |= {a.name.removeprefix("bdlcore.") for a in node.names if a.name.startswith("bdlcore.")}
    return found


def test_every_module_is_in_a_room():
    assert {path.relative_to(PACKAGE).parts[0] for path in modules()} == set(ROOMS)
    assert [path.name for path in PACKAGE.glob("*.py")] == ["__init__.py"]


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_downwards(path):
    room = path.relative_to(PACKAGE).parts[0]
    below = ROOMS[ROOMS.index(room) :]
    # `from .. import data` at the top of the package counts as the room itself
    upwards = {name for name in imported(path) if name.split(".")[0] not in below}
    assert not upwards, f"{room} lies below what it imports: {sorted(upwards)}"


def test_no_module_imports_itself_by_way_of_others():
    names = {
        ".".join(p.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): p for p in modules()
    }

    def module_of(name):
        return name if name in names else name.rpartition(".")[0]

    graph = {name: {module_of(i) for i in imported(path)} & names.keys() for name, path in names.items()}
    done, path = set(), []

    def visit(name):
        assert name not in path, f"a circle of imports: {' -> '.join([*path[path.index(name) :], name])}"
        if name not in done:
            path.append(name)
            for other in sorted(graph[name] - {name}):
                visit(other)
            path.pop()
            done.add(name)

    for name in graph:
        visit(name)


def test_rooms_that_lessons_do_not_name_are_empty():
    for room in EMPTY:
        assert (PACKAGE / room / "__init__.py").read_text() == "", room


def test_the_map_names_every_room_once_from_top_to_bottom():
    text = (PACKAGE / "README.md").read_text(encoding="utf-8")
    assert tuple(re.findall(r"^\| `(\w+)/` \|", text, re.M)) == ROOMS


def test_what_the_map_names_is_there():
    text = (PACKAGE / "README.md").read_text(encoding="utf-8")
    for file in re.findall(r"`([\w/]+\.(?:py|js))`", text):
        assert (PACKAGE / file).exists() or (PACKAGE.parent / file).exists(), file
    for name in re.findall(r"`bdl\.([\w.]+)", text):
        value = bdlcore
        for part in name.split("."):
            value = getattr(value, part)
