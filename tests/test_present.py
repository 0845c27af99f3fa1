"""The pages of live demos: which cells they run, and what they show."""

import ast

import nbformat
import present
import pytest
from execute_notebooks import notebooks

LESSONS = [path for path in notebooks("lessons") if "bdl.demo(" in path.read_text(encoding="utf-8")]


def test_a_page_runs_what_its_demo_needs_and_no_more():
    sources = [
        "import bdlcore as bdl\ncourse = bdl.setup()",
        "data = [1]",
        "unrelated = 2",
        "data.append(3)",
        "def draw(n):\n    return data[n]",
        "table = {}",
        "table['x'] = 1",
        "bdl.demo(draw, n=(0, 1, 1, 0))",
        "after = draw",
    ]
    assert present.cells_needed(sources, [s.startswith("bdl.demo") for s in sources]) == [0, 1, 3, 4, 7]
    sources[4] += " + table['x']"
    assert present.cells_needed(sources, [s.startswith("bdl.demo") for s in sources]) == [0, 1, 3, 4, 5, 6, 7]


@pytest.mark.parametrize("path", LESSONS, ids=[path.stem for path in LESSONS])
def test_a_page_uses_no_name_of_the_lesson_that_it_has_not_made(path):
    lesson = nbformat.read(path, as_version=4)
    page = present.page_of(lesson)
    cells = [c.source.removeprefix("%%capture\n") for c in page.cells if c.cell_type == "code"]
    made, missing, of_lesson = set(), set(), set()
    for cell in lesson.cells:
        if cell.cell_type == "code":
            of_lesson |= {n.name for n in ast.parse(cell.source).body if isinstance(n, ast.FunctionDef)}
            of_lesson |= {
                target.id
                for n in ast.parse(cell.source).body
                if isinstance(n, ast.Assign)
                for target in n.targets
                if isinstance(target, ast.Name)
            }
    for cell in cells:
        binds, uses = present.names_of(cell)
        made |= binds
        arguments = {node.arg for node in ast.walk(ast.parse(cell)) if isinstance(node, ast.arg)}
        missing |= uses - arguments
    assert not (missing & of_lesson) - made
    assert "bdl.setup(" in cells[0] and cells[1] == present.QUIET
    assert page.cells[-1].source.startswith("<details>") and not any(c.get("outputs") for c in page.cells)


def test_a_lesson_without_a_demo_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no lesson '99' with a demo"):
        present.build(tmp_path / "pages", "99")
    assert not (tmp_path / "pages").exists()
