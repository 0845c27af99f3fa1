"""Storing an executed notebook: what is kept, what is dropped, and what is never overwritten."""

import json
from pathlib import Path

import nbformat
import pytest
from execute_notebooks import LIVE, WIDGET, execute, main, noise, notebooks, spoken, state_time, tidy
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

EXPECTED_SECONDS = 12


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.4, "about 10 seconds"),
        (33, "about 30 seconds"),
        (54, "about 50 seconds"),
        (55, "about a minute"),
        (74, "about a minute"),
        (76, "about a minute and a half"),
        (104, "about a minute and a half"),
        (106, "about 2 minutes"),
        (150, "about 3 minutes"),  # half of a minute is rounded up, whatever 150.2 was rounded to before
        (150.2, "about 3 minutes"),
        (600, "about 10 minutes"),
    ],
)
def test_times_are_said_in_words(seconds, words):
    assert spoken(seconds) == words


def test_title_cell_gets_a_true_time_line():
    line = "⏱ Runs in about 2 minutes on a two-core laptop (measured)"
    assert state_time("# Why?", 120) == f"# Why?\n\n{line}"
    assert state_time("# Why?\n\nText.", 120) == f"# Why?\n\n{line}\n\nText."
    assert state_time("# Why?\n\n⏱ an hour\n\nText.", 120) == f"# Why?\n\n{line}\n\nText."
    kept = state_time("# Why?\n\n⏱ an hour · 30 min to read · hard\n\nText.", 120)
    assert kept == f"# Why?\n\n{line} · 30 min to read · hard\n\nText."
    assert state_time(kept, 120) == kept


def test_tidy_drops_what_a_saved_notebook_cannot_show():
    view = {"model_id": "1", "version_major": 2}
    cell = new_code_cell(
        "demo",
        outputs=[
            new_output("display_data", {WIDGET: view, "text/plain": "  0%|          | 0/9 [00:00<?, ?it/s]"}),
            new_output("display_data", {WIDGET: view, "text/plain": "VBox(children=(IntSlider(value=1),))"}),
            new_output("display_data", {WIDGET: view, "text/plain": "Image()", "image/png": "iVBOR"}),
            new_output("stream", name="stdout", text="100% sure"),
        ],
    )
    cell.metadata.update(tags=["kept"], execution={"started": "now"}, ExecuteTime={}, scrolled=True)
    notebook = new_notebook(
        cells=[cell],
        metadata={
            "widgets": {},
            "bdl": {"seconds": 3},
            "kernelspec": {"name": "mine", "display_name": "Mine"},
        },
    )
    tidy(notebook)
    demo, picture, text = cell.outputs
    assert demo.data == {"text/plain": f"▶ {LIVE}", "text/markdown": f"▶ *{LIVE}*"}
    assert picture.data == {"text/plain": f"▶ {LIVE}", "image/png": "iVBOR"}
    assert text.text == "100% sure"
    assert cell.metadata == {"tags": ["kept"]}
    assert set(notebook.metadata) == {"bdl", "kernelspec", "language_info"}
    assert notebook.metadata.kernelspec.name == "python3"


def test_notebooks_come_in_course_order_without_checkpoints(tmp_path):
    for name in (
        "2_b/02_two.ipynb",
        "1_a/10_ten.ipynb",
        "00_start.ipynb",
        "1_a/.ipynb_checkpoints/01_one.ipynb",
    ):
        (tmp_path / "lessons" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "lessons" / name).write_text("{}")
    names = [path.stem for path in notebooks(root=tmp_path)]
    assert names == ["00_start", "02_two", "10_ten"]


def written(folder, name, *sources):
    path = folder / "lessons" / name
    path.parent.mkdir(exist_ok=True)
    nbformat.write(new_notebook(cells=[new_markdown_cell("# Why?"), *map(new_code_cell, sources)]), path)
    return path


def test_lesson_is_stored_with_outputs_and_time(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("BDL_SCALE", "paper")  # what is committed is at small scale, whatever the shell says
    path = written(
        tmp_path,
        "01_one.ipynb",
        "import os, time",
        "print(os.environ['BDL_SCALE'], os.getcwd().split('/')[-1])",
        "time.sleep(2 * int(os.environ['BDL_WORKERS']) * int(os.environ['OMP_NUM_THREADS']) - 2)",
    )
    assert main([str(path)]) == 0
    notebook = nbformat.read(path, as_version=4)
    assert [cell.execution_count for cell in notebook.cells[1:]] == [1, 2, 3]
    assert notebook.cells[2].outputs[0].text == "small lessons\n"
    assert notebook.metadata.bdl.two_cores >= 6 > notebook.metadata.bdl.seconds >= 1
    assert "⏱ Runs in about 10 seconds" in notebook.cells[0].source
    assert "01_one.ipynb" in capsys.readouterr().out
    assert json.loads(path.read_text())["nbformat_minor"] >= 5
    assert list(path.parent.iterdir()) == [path]


def test_failing_notebook_keeps_what_it_had_and_the_next_still_runs(tmp_path, capsys):
    broken = written(tmp_path, "01_broken.ipynb", "1", "1 / 0")
    noisy = written(tmp_path, "02_noisy.ipynb", "import sys; print('oh', file=sys.stderr)")
    before = broken.read_text()
    assert main([str(tmp_path)]) == 1
    assert broken.read_text() == before
    said = capsys.readouterr().out
    assert "ZeroDivisionError" in said
    assert "wrote to stderr" in said
    assert noise(nbformat.read(noisy, as_version=4)) == ["oh\n"]


def test_seed_and_lesson_reach_the_kernel(tmp_path):
    source = "import os; print(os.environ['BDL_SEED'], os.environ['JPY_SESSION_NAME'])"
    path = written(tmp_path, "01_one.ipynb", source)
    cells = []
    notebook, seconds, megabytes = execute(path, seed=4, on_cell=lambda index, seconds: cells.append(index))
    assert notebook.cells[1].outputs[0].text == f"4 {path.as_posix()}\n"
    assert cells == [1]
    assert seconds > 0
    assert megabytes is None or 20 < megabytes < 2000


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="this system keeps no record of the peak")
def test_the_peak_of_memory_is_told_though_it_is_given_back(tmp_path):
    plain, hungry = "pass", "held = bytearray(300_000_000); del held"
    peaks = []
    for number, source in enumerate((plain, hungry)):
        path = written(tmp_path, f"0{number}_one.ipynb", "1", source)
        assert main([str(path)]) == 0
        peaks.append(nbformat.read(path, as_version=4).metadata.bdl.megabytes)
    assert 280 <= peaks[1] - peaks[0] <= 400


@pytest.mark.parametrize("arguments", [["nowhere.ipynb"], ["{empty}"]])
def test_nothing_to_run_is_said(tmp_path, capsys, arguments):
    with pytest.raises(SystemExit):
        main([argument.format(empty=tmp_path) for argument in arguments])
    assert "no" in capsys.readouterr().err
