"""Progress bars: none when they are turned off, and none in a thread."""

import threading
import time

from bdlcore._support.progress import progress


def test_progress_bars_can_be_turned_off(monkeypatch, capsys):
    monkeypatch.setenv("BDL_PROGRESS", "0")
    assert list(progress(3, "work")) == [0, 1, 2]
    assert capsys.readouterr() == ("", "")


def test_threads_have_no_progress_bar(monkeypatch, capsys):
    monkeypatch.delenv("BDL_PROGRESS", raising=False)
    seen = []
    work = threading.Thread(
        target=lambda: seen.extend(step for step in progress(3, "x") if not time.sleep(0.8))
    )
    work.start()
    work.join()
    assert seen == [0, 1, 2] and capsys.readouterr() == ("", "")
