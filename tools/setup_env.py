#!/usr/bin/env python3
"""Set the course up: a virtual environment in .venv with the packages that requirements.txt pins.

    python3 tools/setup_env.py [--extra test] [--python python3.12] [--torch cpu]

`make lab` and `make test` run this first; Windows needs no make: `py tools/setup_env.py`. uv does the work: it finds a
Python that the course supports, or downloads one, and installs. This file brings uv where it is missing, says what to
do where uv fails, and leaves a stamp in .venv of what was installed, so that the next run returns at once and touches
no network. The stamp is written last: a run that was interrupted leaves none, and the next run starts .venv afresh
from the packages already downloaded.
"""

import argparse
import hashlib
import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(ROOT, ".venv")
STAMP = os.path.join(VENV, "course-setup.json")
UV_FOLDER = os.path.join(ROOT, "build", "uv")  # git ignores build, and `make clean` removes it
OLDEST_UV = (0, 9)

# Disk space in GB, and what to say of the download (measured, with room to spare).
NEEDS = {
    "gpu": (7.0, "up to 3 GB: some 5 minutes at 100 Mbit/s. `make lab TORCH=cpu` is smaller, for no GPU."),
    "cpu": (2.0, "up to 0.5 GB: some 40 seconds at 100 Mbit/s."),
    "update": (0.5, "what has changed."),
}

AGAIN = "Then run the same command again; what was downloaded so far is kept."
NO_NETWORK = (
    r"dns error|name resolution|failed to (lookup|fetch|download)|error sending request|connect error|timed out"
    r"|connection (refused|reset|error)|NewConnectionError|ConnectTimeout|unreachable|ProxyError|certificate"
    r"|no matching distribution|network was disabled"
)
# What installers say, and what that means for the user; the first that is found counts.
EXPLANATIONS = {
    r"no space left|not enough space|(os error |errno )(28|112|122)\b|quota exceeded": (
        "The disk is full, or your quota is used up. Make room for {root} and for uv's downloads,\n"
        "which are in your home, or where UV_CACHE_DIR says. " + AGAIN
    ),
    r"permission denied|access is denied|(os error |errno )(5|13|30)\b|read-only": (
        "A file could not be written: see above which one, and whether it is yours to write.\n"
        "On Windows, close what runs from .venv, such as JupyterLab. " + AGAIN
    ),
    r"ensurepip|no module named '?(pip|venv)": (
        "The installer, uv, is not here, and this Python has neither pip nor venv to bring it.\n"
        "On Debian and Ubuntu, `sudo apt install python3-venv`; elsewhere, install uv. " + AGAIN
    ),
    r"No interpreter|Python interpreter|/cpython-3|project's Python requirement|bdlcore\S+ depends on Python": (
        "The course needs Python {python}: see above what is wrong with the one asked for, or why none was\n"
        "found or downloaded. Install one beside it, for example\n"
        "    sudo apt install python3.12          (Debian, Ubuntu)\n"
        "    brew install python@3.12             (macOS)\n"
        "    winget install Python.Python.3.12    (Windows)\n"
        "then run the same command again. If it is in an unusual place, name it: make lab PYTHON=/path/to/python3.12\n"
        "(without make: --python). With conda, `conda env create -f environment.yml` brings its own Python."
    ),
    NO_NETWORK: (
        "The packages could not be downloaded: is this computer online? After this, no network is needed.\n"
        "Behind a proxy, set HTTPS_PROXY; if it has a certificate of its own, set SSL_CERT_FILE to that file.\n"
        "With TORCH=, PyTorch comes from an index of its own, which may be out of reach where the usual one is not.\n"
        + AGAIN
    ),
    r"matching (platform|Python ABI)|no (usable )?wheels": (
        "A package has no build for {machine}; see above which.\n"
        "The course runs on Linux, on macOS with Apple silicon, and on Windows."
    ),
    r"No solution found": (
        "The versions in requirements.txt cannot be installed together here; the reason is above.\n"
        "If you changed pyproject.toml, `make pins` writes requirements.txt anew."
    ),
    r"": "The set-up failed; the reason is above. `make clean` and the same command again start from nothing.",
}


class SetupError(Exception):
    """Set-up cannot go on; the message tells the user why and what to do."""


class NoNetwork(SetupError):
    """Packages could not be downloaded. uv installs only when all are here, so nothing was changed."""


def find_in(name, pattern):
    """What the group in `pattern` matches in the file `name`."""
    with open(os.path.join(ROOT, name), encoding="utf-8") as file:
        return re.search(pattern, file.read(), re.M).group(1)


def explained(said):
    """The error to raise, from what an installer said."""
    said = " ".join(said.split())
    pattern = next(pattern for pattern in EXPLANATIONS if re.search(pattern, said, re.I))
    message = EXPLANATIONS[pattern].format(
        root=ROOT,
        machine=platform.system() + " on " + platform.machine(),
        python=find_in("pyproject.toml", '^requires-python = "(.+)"'),
    )
    return (NoNetwork if pattern == NO_NETWORK else SetupError)(message)


# ---------------------------------------------------------------------------------------------- running things


def say(text):
    print(text, flush=True)


def environment(**more):
    """The variables for pip and uv; what a user has set for pip elsewhere must not stand in the way here."""
    return {"UV_HTTP_TIMEOUT": "120", **os.environ, "PIP_USER": "0", "PIP_REQUIRE_VIRTUALENV": "0", **more}


def visibly(command):
    """Run `command` on the user's terminal, so that it can show its progress; return its exit code."""
    return subprocess.call(command, cwd=ROOT, env=environment(), stdin=subprocess.DEVNULL)


def quietly(command, **variables):
    """Run `command` unseen; return its exit code and what it said."""
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environment(**variables),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    )
    return done.returncode, done.stdout


def run(command):
    """Run `command` visibly. If it fails, run it again to learn why: progress bars and a reason do not go together."""
    if visibly(command):
        code, said = quietly(command, UV_HTTP_RETRIES="0", PIP_RETRIES="0")
        if code:
            raise explained(said)


# ---------------------------------------------------------------------------------------------- uv and what it does


def works(uv):
    """Whether there is a uv, and new enough."""
    try:
        version = re.match(r"uv (\d+)\.(\d+)", quietly([uv, "--version"])[1]) if uv else None
    except OSError:
        version = None
    return version is not None and tuple(map(int, version.groups())) >= OLDEST_UV


def find_uv():
    """The uv of an earlier run, or of this computer; else pip brings the pinned one, with venv's pip if need be."""
    kept = os.pathsep.join(os.path.join(UV_FOLDER, name) for name in ("bin", "Scripts"))
    for uv in (shutil.which("uv", path=kept), shutil.which("uv")):
        if works(uv):
            return uv
    if sys.version_info < (3, 8):
        raise SetupError(
            f"The installer, uv, is not here, and Python {platform.python_version()} is too old to bring it.\n"
            "Start with a newer one, for example: python3.12 tools/setup_env.py"
        )
    pin = find_in("requirements.txt", r"^(uv==\S+)")
    say(f"Fetching the installer, {pin} ...")
    if importlib.util.find_spec("pip"):
        pip = [sys.executable, "-m", "pip", "install", "--target", UV_FOLDER, "--upgrade"]
    else:
        run([sys.executable, "-m", "venv", "--clear", UV_FOLDER])
        pip = [python_in(UV_FOLDER), "-m", "pip", "install"]
    run([*pip, "--no-deps", "-qq", pin])
    return shutil.which("uv", path=kept)


def make_venv(uv, python):
    """An empty .venv, in place of whatever is there, unless the Python asked for is one that the course refuses."""
    if python:
        _, said = quietly([uv, "python", "find", python])
        if "project's Python requirement" in said:
            print(said, file=sys.stderr)
            raise explained(said)
    run([uv, "venv", "--clear", *(["--python", python] if python else []), VENV])


def check_space(uv, need_gb):
    """Refuse early where the packages will not fit."""
    if os.environ.get("BDL_DISK_CHECK") == "0":
        return
    cache = quietly([uv, "cache", "dir"])[1].strip()
    for folder in filter(os.path.isdir, (ROOT, cache)):
        free_gb = shutil.disk_usage(folder).free / 1e9
        if free_gb < need_gb:
            raise SetupError(
                f"Setting up needs {need_gb} GB of disk space; {folder} has {free_gb:.1f} GB free.\n"
                f"Make room. {AGAIN}\n(BDL_DISK_CHECK=0 skips this check.)"
            )


def install_packages(uv, extras, torch, update):
    """bdlcore, editable, and what it needs, at the pinned versions: from uv's cache alone if it has everything."""
    command = [uv, "pip", "install", "--python", VENV, "--constraint", "requirements.txt"]
    command += ["--torch-backend", torch] if torch else []
    command += ["--editable", f".[{','.join(extras)}]", "pip"]  # pip for %pip in a notebook
    say("Installing the packages that requirements.txt pins ...")
    if quietly([*command, "--offline"])[0] == 0:
        return
    small = torch == "cpu" or platform.system() != "Linux"
    need_gb, download = NEEDS["update" if update else "cpu" if small else "gpu"]
    say("This downloads " + download)
    check_space(uv, need_gb)
    run(command)


# ---------------------------------------------------------------------------------------------- .venv and its stamp


def python_in(venv):
    return os.path.join(venv, *(["Scripts", "python.exe"] if os.name == "nt" else ["bin", "python"]))


def read_stamp():
    """What the last finished set-up installed; empty where .venv is missing, unfinished, broken or moved."""
    try:
        with open(STAMP, encoding="utf-8") as file:
            stamp = json.load(file)
        working = stamp["folder"] == VENV and quietly([python_in(VENV), "-c", "import pip"])[0] == 0
        return stamp if working else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def write_stamp(stamp):
    with open(STAMP, "w", encoding="utf-8") as file:
        json.dump(stamp, file, indent=2)


def fingerprint():
    """A hash of the two files that say what to install."""
    digest = hashlib.sha256()
    for name in ("pyproject.toml", "requirements.txt"):
        with open(os.path.join(ROOT, name), "rb") as file:
            digest.update(file.read())
    return digest.hexdigest()


def set_up(extras=(), python="", torch=""):
    """Bring .venv to what is asked for; return at once if it is there already. Earlier choices still hold."""
    if not re.match(r"(|auto|cpu|xpu|cu\d+|rocm[\d.]+)$", torch):
        raise SetupError(
            f"TORCH={torch} is no build of PyTorch; cpu, auto and cu130 are some that can be asked for."
        )
    stamp = read_stamp()
    wanted = {
        "fingerprint": fingerprint(),
        "extras": sorted({"lab", *extras, *stamp.get("extras", [])}),
        "torch": torch or stamp.get("torch", ""),
        "python": python or stamp.get("python", ""),
        "folder": VENV,
    }
    if stamp == wanted:
        return
    uv = find_uv()
    update = bool(stamp) and all(stamp.get(choice) == wanted[choice] for choice in ("torch", "python"))
    if update:
        say("Updating .venv: the course asks for more, or other, packages than it has.")
        os.remove(STAMP)
    else:
        make_venv(uv, wanted["python"])
    try:
        install_packages(uv, wanted["extras"], wanted["torch"], update)
    except NoNetwork:
        if update:
            write_stamp(stamp)
        raise
    write_stamp(wanted)
    say("Done; later runs start at once.")
    if os.name == "nt":
        say(r"Open the course with: .venv\Scripts\python tools\learner_copy.py --open")


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description="Set up the course in .venv; instant where it is set up already."
    )
    parser.add_argument("--extra", action="append", default=[], help="extra of pyproject.toml, such as test")
    parser.add_argument("--python", default="", help="the Python to build on, such as 3.12 or a path")
    parser.add_argument("--torch", default="", help="PyTorch build as for uv's --torch-backend, such as cpu")
    parser.add_argument("--uv", nargs=argparse.REMAINDER, help="only run uv, with the arguments that follow")
    options = parser.parse_args(arguments)
    try:
        if options.uv:
            return visibly([find_uv(), *options.uv])
        set_up(options.extra, options.python, options.torch)
        return 0
    except SetupError as problem:
        message = str(problem)
    except KeyboardInterrupt:
        message = "Interrupted. The same command again goes on with what was downloaded so far."
    except OSError as problem:
        message = f"{problem}\n{explained(str(problem))}"
    print("\n" + message, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
