"""Keep my_course/, a learner's own copy of the course, up to date, and open it in JupyterLab.

    python tools/learner_copy.py            only the copy
    python tools/learner_copy.py --open     and JupyterLab, to which further arguments go: `make lab`

Git ignores the folder, so that working through a lesson changes no file that a later version of the course changes
too. What a learner has not touched follows the course; what they have changed, or run and saved, stays as it is. To
have the new version of such a file, rename or delete one's own.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MINE = "my_course"
RECORD = ".copied.json"  # what every file was when it was copied
FOLDERS = ("lessons", "exercises", "solutions", "docs")
PAGES = ("README.md", "CLAIMS.md", "CONTRIBUTING.md", "bdlcore/README.md", "benchmarks/results/README.md")
KINDS = {".ipynb", ".md", ".png", ".svg", ".webp"}
# a folder bdlcore beside a notebook would hide the package from it
ROOMS, RENAMED = b"bdlcore/README.md", b"rooms/README.md"


def update(root: Path = ROOT) -> list[str]:
    """Copy what is new or untouched; returns the files that stay though the course has a newer version."""
    mine, here = root / MINE, _files(root)
    mine.mkdir(exist_ok=True)
    copied, stale = _read(mine / RECORD), []
    try:
        for name, version in here.items():
            own = mine / _name(name)
            if not own.exists() or (_digest(own) == copied.get(name) != version):
                _replace(own, _content(root / name))
                copied[name] = version
            elif _digest(own) == version:
                copied[name] = version
            elif copied.get(name) != version:
                stale.append(_name(name))
        for name in [name for name in copied if name not in here]:
            own = mine / _name(name)
            if own.exists() and _digest(own) == copied[name]:
                own.unlink()
            del copied[name]
    finally:
        _replace(mine / RECORD, (json.dumps(copied, indent=1, sort_keys=True) + "\n").encode())
    return stale


def _files(root: Path) -> dict[str, str]:
    """What is copied, by its name from the root, with a digest."""
    found = [root / page for page in PAGES if (root / page).exists()]
    for folder in FOLDERS:
        found += [path for path in (root / folder).rglob("*") if path.suffix in KINDS and _seen(path, root)]
    return {path.relative_to(root).as_posix(): _hash(_content(path)) for path in sorted(found)}


def _name(name: str) -> str:
    return name.replace(ROOMS.decode(), RENAMED.decode())


def _content(path: Path) -> bytes:
    return path.read_bytes().replace(ROOMS, RENAMED) if path.suffix == ".md" else path.read_bytes()


def _seen(path: Path, root: Path) -> bool:
    return not any(part.startswith(".") for part in path.relative_to(root).parts)


def _digest(path: Path) -> str:
    return _hash(path.read_bytes())


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _read(record: Path) -> dict[str, str]:
    """The record; none where it is damaged, and then every file that differs from the course's counts as changed."""
    try:
        found = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _replace(target: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f".{target.name}.new")
    unfinished.write_bytes(content)
    os.replace(unfinished, target)


def open_lab(arguments: list[str]) -> int:
    """Run JupyterLab on the copy until it is ended; the page of what is solved is written while it starts."""
    paths = [str(ROOT / "tools" / "jupyter"), os.environ.get("JUPYTER_CONFIG_PATH", "")]
    environment = os.environ | {"JUPYTER_CONFIG_PATH": os.pathsep.join(filter(None, paths))}
    subprocess.Popen([sys.executable, ROOT / "tools" / "my_progress.py"], cwd=ROOT)
    print(
        "JupyterLab opens in your browser; if not, open the link that it prints. Control-C twice ends it.",
        flush=True,
    )
    options = ["--ServerApp.root_dir=" + str(ROOT / MINE), "--LabApp.default_url=/lab/tree/README.md"]
    options += ["--allow-root"] * (getattr(os, "getuid", lambda: 1)() == 0)
    command = [sys.executable, "-m", "jupyterlab", *options, *arguments]
    if os.name == "posix":
        os.execve(sys.executable, command, environment)  # so that Control-C reaches JupyterLab alone
    return subprocess.run(command, env=environment).returncode


def main(arguments: list[str]) -> int:
    """Update the copy, say what stays behind, and open it if asked to."""
    try:
        stale = update()
    except OSError as error:
        sys.exit(f"my_course could not be brought up to date: {error}. What is in it has not been touched.")
    if stale:
        print(
            "These have a newer version, and yours stay, since you changed or ran them. Rename yours to get it:"
        )
        print("\n".join(f"  {MINE}/{name}" for name in stale), flush=True)
    return open_lab(arguments[1:]) if arguments[:1] == ["--open"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
