#!/usr/bin/env python3
"""Set the course up: a virtual environment in .venv with the packages that requirements.txt pins.

    python3 tools/setup_env.py [--extra test] [--python python3.12] [--torch cpu]

`make lab` and `make test` run this first. It needs nothing but a Python 3 of any age: it looks for one that the course
supports, and says what to install if there is none. A stamp in .venv records what was installed, so that the next run
returns at once and touches no network. The stamp is written last: a run that was interrupted leaves none, and the
next run starts .venv afresh from the packages already downloaded.
"""

import argparse
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
GB = 1e9

# Disk space in GB for everything, the download, and its time at 100 Mbit/s (measured, with room to spare).
NEEDS = {"gpu": (7.0, "3 GB", "5 minutes"), "cpu": (2.0, "0.5 GB", "40 seconds")}
UPDATE_GB = 0.5  # for a change to an environment that is already there

# What a Python says of itself. `_base_executable` is the Python behind a virtual environment, so that an active .venv
# can be built anew.
PROBE = """
import importlib.util, json, sys
print(json.dumps({
    "version": list(sys.version_info[:3]),
    "path": getattr(sys, "_base_executable", None) or sys.executable,
    "can_make_venv": all(importlib.util.find_spec(name) for name in ("venv", "ensurepip")),
}))
"""

NO_SPACE = re.compile(r"no space left|(os error |errno )(28|122)\b|quota exceeded", re.I)
NO_NETWORK = re.compile(
    r"dns error|name resolution|failed to (lookup|fetch|download)|error sending request|connect error"
    r"|connection (refused|reset|error)|NewConnectionError|ConnectTimeout|timed out|unreachable|ProxyError|certificate"
    r"|no matching distribution",
    re.I,
)


class SetupError(Exception):
    """Set-up cannot go on; the message tells the user why and what to do."""


class NoNetwork(SetupError):
    """Packages could not be downloaded. Installing starts only when all are here, so nothing was changed."""


def say(text=""):
    print(text, flush=True)


# ---------------------------------------------------------------------------------------------- which Python


def supported_versions():
    """(lowest, first too new) as (major, minor) pairs, from requires-python in pyproject.toml."""
    with open(os.path.join(ROOT, "pyproject.toml"), encoding="utf-8") as file:
        low, high = re.search(r'^requires-python = ">=([\d.]+),<([\d.]+)"', file.read(), re.M).groups()
    return tuple(map(int, low.split("."))), tuple(map(int, high.split(".")))


def probe(command):
    """What the Python `command` says of itself, or None where it does not run."""
    try:
        out = subprocess.run(
            [command, "-c", PROBE], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=60, check=True
        )
        return json.loads(out.stdout.decode())
    except (OSError, subprocess.SubprocessError, ValueError):
        return None


def dotted(version):
    return ".".join(map(str, version))


def find_python(asked=""):
    """The Python to build on: the one `asked` for, else this one if it will do, else the newest supported one."""
    low, high = supported_versions()
    supported = [f"3.{minor}" for minor in range(low[1], high[1])]
    names = [sys.executable, *(f"python{version}" for version in reversed(supported)), "python3", "python"]
    seen, without_venv = {}, None
    for name in [asked] if asked else names:
        found = probe(name)
        if found is None:
            continue
        version = tuple(found["version"][:2])
        if low <= version < high:
            if found["can_make_venv"]:
                return found
            without_venv = without_venv or found
        age = "too old" if version < low else "too new"
        seen[found["path"]] = f"{name} is Python {dotted(found['version'])} ({age})"

    if without_venv:
        version = dotted(without_venv["version"][:2])
        raise SetupError(
            f"Python {version} is here ({without_venv['path']}), but its parts for virtual environments (venv and "
            "ensurepip) are missing.\nOn Debian and Ubuntu they are a package of their own:\n"
            f"    sudo apt install python{version}-venv\n"
            "Then run the same command again."
        )
    needs = f"The course needs Python {', '.join(supported[:-1])} or {supported[-1]}"
    if asked:
        problem = f"{needs}, but PYTHON={''.join(seen.values()) or asked + ' does not run'}."
    else:
        problem = f"{needs}, and there is none here:\n    " + "\n    ".join(seen.values())
    best = supported[-2]
    raise SetupError(
        f"{problem}\nInstall one beside it, for example\n"
        f"    sudo apt install python{best} python{best}-venv    (Debian, Ubuntu)\n"
        f"    brew install python@{best}                      (macOS)\n"
        "then run the same command again. If it is in an unusual place, name it: "
        f"make lab PYTHON=/path/to/python{best}\n"
        "With conda, `conda env create -f environment.yml` brings its own Python."
    )


# ---------------------------------------------------------------------------------------------- is there room


def existing(folder):
    """The folder, or the nearest folder above it that exists."""
    while not os.path.exists(folder):
        folder = os.path.dirname(folder)
    return folder


def uv_cache():
    """Where uv keeps downloads."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.abspath(os.environ.get("UV_CACHE_DIR") or os.path.join(home, "uv"))


def check_space(need_gb, can_be_smaller):
    """Refuse early where the packages will not fit; downloads and .venv share their files where they share a disk."""
    if os.environ.get("BDL_DISK_CHECK") == "0":
        return
    for folder in (ROOT, uv_cache()):
        free_gb = shutil.disk_usage(existing(folder)).free / GB
        if free_gb < need_gb:
            smaller = (
                f"With TORCH=cpu it needs {NEEDS['cpu'][0]:.0f} GB: make lab TORCH=cpu\n"
                if can_be_smaller
                else ""
            )
            raise SetupError(
                f"Setting up needs about {need_gb:.1f} GB of disk space; {folder} has {free_gb:.1f} GB free.\n"
                f"Make room, then run the same command again. {smaller}"
                "(BDL_DISK_CHECK=0 skips this check.)"
            )


# ---------------------------------------------------------------------------------------------- running the installers


def run(command):
    """Run `command` in the course folder, showing what it says; return its exit code and the end of what it said."""
    environment = dict(os.environ, PIP_USER="0", PIP_DISABLE_PIP_VERSION_CHECK="1")
    environment.setdefault("UV_HTTP_TIMEOUT", "120")
    if sys.stderr.isatty():  # a terminal of its own, or the installer would show no progress bars
        import fcntl
        import pty
        import termios

        reader, writer = pty.openpty()
        size = fcntl.ioctl(sys.stderr.fileno(), termios.TIOCGWINSZ, b"\0" * 8)
        fcntl.ioctl(writer, termios.TIOCSWINSZ, size)
    else:
        reader, writer = os.pipe()
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=writer, stderr=writer
    )
    os.close(writer)
    said = b""
    try:
        while True:
            try:
                chunk = os.read(reader, 4096)
            except OSError:  # how Linux says that the other end of a terminal is closed
                chunk = b""
            if not chunk:
                break
            sys.stderr.buffer.write(chunk)
            sys.stderr.buffer.flush()
            said = (said + chunk)[-10000:]
        return process.wait(), said.decode("utf-8", "replace")
    finally:
        os.close(reader)
        if process.poll() is None:
            process.terminate()
            process.wait()


def diagnose(said, torch=""):
    """The error for an installer that failed, from what it said."""
    again = "Then run the same command again; what was downloaded so far is kept."
    if NO_SPACE.search(said):
        return SetupError(
            f"The disk is full, or your quota is used up. Make room for {ROOT} and {uv_cache()}.\n{again}"
        )
    if NO_NETWORK.search(said) and torch:
        return NoNetwork(
            f"The packages could not be downloaded. With TORCH={torch}, PyTorch comes from an index of its own,\n"
            "which may be out of reach; or this computer is offline. Without TORCH everything comes from\n"
            f"the usual index. {again}"
        )
    if NO_NETWORK.search(said):
        return NoNetwork(
            "The packages could not be downloaded: is this computer online? After this, no network is needed.\n"
            "Behind a proxy, set HTTPS_PROXY; if it has a certificate of its own, set SSL_CERT_FILE to that file.\n"
            f"{again}"
        )
    if re.search(r"matching (platform|Python ABI)|no wheels", said):
        return SetupError(
            f"A package has no build for {platform.system()} on {platform.machine()}; see above which.\n"
            "The course runs on Linux, on macOS with Apple silicon, and on Windows inside WSL."
        )
    if "No solution found" in said:
        return SetupError(
            "The versions in requirements.txt cannot be installed together here; the reason is above.\n"
            "If you changed pyproject.toml, `make pins` writes requirements.txt anew."
        )
    if re.search(r"permission denied|os error 13\b|read-only", said, re.I):
        return SetupError(
            f"A file could not be written: see above which one, and whether it is yours to write.\n{again}"
        )
    return SetupError(
        "The installation failed; the reason is above. `make clean` and the same command again start from nothing."
    )


# ---------------------------------------------------------------------------------------------- .venv and its stamp


def venv_folder():
    return os.path.join(ROOT, ".venv")


def venv_python():
    return os.path.join(venv_folder(), "bin", "python")


def stamp_path():
    return os.path.join(venv_folder(), "course-setup.json")


def read_stamp():
    """What the last finished set-up installed, or None where .venv is missing, unfinished, broken or moved."""
    try:
        with open(stamp_path(), encoding="utf-8") as file:
            stamp = json.load(file)
        working = probe(venv_python())
        intact = (
            working and dotted(working["version"][:2]) == stamp["python"] and stamp["folder"] == venv_folder()
        )
        return stamp if intact else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_stamp(stamp):
    with open(stamp_path() + ".new", "w", encoding="utf-8") as file:
        json.dump(stamp, file, indent=2)
    os.replace(stamp_path() + ".new", stamp_path())


def fingerprint():
    """A hash of the two files that say what to install."""
    digest = hashlib.sha256()
    for name in ("pyproject.toml", "requirements.txt"):
        with open(os.path.join(ROOT, name), "rb") as file:
            digest.update(file.read())
    return digest.hexdigest()


def uv_pin():
    with open(os.path.join(ROOT, "requirements.txt"), encoding="utf-8") as file:
        pin = re.search(r"^uv==\S+", file.read(), re.M)
    return pin.group() if pin else "uv"


def make_venv(python):
    """An empty .venv, in place of whatever is there."""
    out = subprocess.run(
        [python["path"], "-m", "venv", "--clear", venv_folder()],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    if out.returncode:
        said = out.stdout.decode("utf-8", "replace")
        say(said)
        raise diagnose(said)


def install_uv():
    """The installer, at its pinned version."""
    code, said = run([venv_python(), "-m", "pip", "install", "--quiet", uv_pin()])
    if code:
        raise diagnose(said)


def install_packages(extras, torch):
    """bdlcore, editable, and everything that it needs, at the pinned versions."""
    command = [venv_python(), "-m", "uv", "pip", "install", "--python", venv_python()]
    command += ["--torch-backend", torch] if torch else []
    command += ["--constraint", "requirements.txt", "--editable", f".[{','.join(extras)}]"]
    code, said = run(command)
    if not code:
        return
    problem = diagnose(said, torch)
    if isinstance(problem, NoNetwork):
        say("No network: trying with what was downloaded before ...")
        if subprocess.call([*command, "--offline", "--quiet"], cwd=ROOT, stderr=subprocess.DEVNULL) == 0:
            return
    raise problem


def announce(python, cpu):
    """Say what a first set-up will do, once it is known to have room."""
    disk_gb, download, minutes = NEEDS["cpu" if cpu else "gpu"]
    check_space(disk_gb, can_be_smaller=not cpu)
    say(f"Setting up the course in .venv with Python {dotted(python['version'])} ({python['path']}).")
    say(
        f"The first time, this downloads about {download}: some {minutes} at 100 Mbit/s. Later runs start at once."
    )
    if not cpu:
        say("No GPU and little disk space? `make lab TORCH=cpu` is smaller.")


def set_up(extras=(), python="", torch="", installer_only=False):
    """Bring .venv to what pyproject.toml and requirements.txt ask for; return at once where it is there already."""
    if torch and not re.match(r"(auto|cpu|xpu|cu\d+|rocm[\d.]+)$", torch):
        raise SetupError(
            f"TORCH={torch} is no build of PyTorch; cpu, auto and cu130 are examples of what can be asked for."
        )
    started = time.time()
    stamp = read_stamp()
    chosen = find_python(python) if python or not stamp else None
    other_python = stamp and chosen and dotted(chosen["version"][:2]) != stamp["python"]
    other_torch = stamp and torch and torch != stamp["torch"]
    if other_python or other_torch:
        stamp = None
        chosen = chosen or find_python()
    before = stamp or {"extras": [], "torch": "", "python": dotted(chosen["version"][:2])}
    wanted = {
        "fingerprint": fingerprint(),
        "extras": sorted({"setup", *extras, *before["extras"]}),
        "torch": torch or before["torch"],
        "python": before["python"],
        "folder": venv_folder(),
    }
    if stamp == wanted or (stamp and installer_only):
        return

    if stamp:
        check_space(UPDATE_GB, can_be_smaller=False)
        say("Updating .venv: the course asks for more, or other, packages than it has.")
        os.remove(stamp_path())
    else:
        if not installer_only:
            announce(chosen, cpu=wanted["torch"] == "cpu" or platform.system() != "Linux")
        say("Making .venv anew ..." if os.path.exists(venv_folder()) else "Making .venv ...")
        make_venv(chosen)
        say(f"Fetching the installer, {uv_pin().replace('==', ' ')} ...")
    try:
        install_uv()
        if installer_only:
            return
        say("Installing the packages that requirements.txt pins ...")
        install_packages(wanted["extras"], wanted["torch"])
    except NoNetwork:
        if stamp:
            write_stamp(stamp)
        raise
    write_stamp(wanted)
    say(f"Done in {time.time() - started:.0f} s.")


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description="Set up the course in .venv; instant where it is set up already."
    )
    parser.add_argument("--extra", action="append", default=[], help="extra of pyproject.toml, such as test")
    parser.add_argument("--python", default="", help="the Python to build on")
    parser.add_argument("--torch", default="", help="PyTorch build as for uv's --torch-backend, such as cpu")
    parser.add_argument("--installer-only", action="store_true", help="stop when .venv has the installer")
    options = parser.parse_args(arguments)
    try:
        set_up(options.extra, options.python, options.torch, options.installer_only)
        return 0
    except SetupError as problem:
        message = str(problem)
    except KeyboardInterrupt:
        message = "Interrupted. The same command again goes on with what was downloaded so far."
    except OSError as problem:
        message = f"{problem}\n{diagnose(str(problem))}"
    print("\n" + message, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
