"""The set-up: one set of pins behind every way in, and a helpful sentence for each way in which it can fail.

No test here installs anything or needs a network: tools/setup_env.py runs against a stand-in for Python, pip and uv.
"""

import ast
import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections import namedtuple
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
ENVIRONMENT = yaml.safe_load((ROOT / "environment.yml").read_text())
SETUP_FILES = [
    "requirements.txt",
    "environment.yml",
    "pyproject.toml",
    "Makefile",
    "tools/setup_env.py",
    ".ci/run",
]


def load_setup():
    spec = importlib.util.spec_from_file_location("setup_env", ROOT / "tools/setup_env.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


setup_env = load_setup()
(_, LOWEST), (_, TOO_NEW) = setup_env.supported_versions()
PYTHONS = [f"3.{minor}" for minor in range(LOWEST, TOO_NEW)]


# ---------------------------------------------------------------------------------------------- one set of pins


def pins(python: str) -> dict[str, str]:
    """Name to pinned version, as requirements.txt has them for that Python on Linux."""
    where = {
        "python_version": python,
        "python_full_version": f"{python}.9",
        "sys_platform": "linux",
        "os_name": "posix",
    }
    found = {}
    for line in (ROOT / "requirements.txt").read_text().splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate(where):
                assert canonicalize_name(requirement.name) not in found, (
                    f"{line}: pinned twice for Python {python}"
                )
                (pin,) = requirement.specifier
                assert pin.operator == "==", line
                found[canonicalize_name(requirement.name)] = pin.version
    return found


@pytest.mark.parametrize("python", PYTHONS)
def test_every_dependency_is_pinned_inside_its_range(python):
    pinned = pins(python)
    extras = PROJECT["optional-dependencies"].values()
    for text in PROJECT["dependencies"] + [text for extra in extras for text in extra]:
        wanted = Requirement(text)
        version = pinned.get(canonicalize_name(wanted.name))
        assert version, f"{wanted.name} is not pinned for Python {python}: run `make pins`"
        assert wanted.specifier.contains(version, prereleases=True), (
            f"{wanted} against {version}: run `make pins`"
        )


def test_torch_and_torchvision_are_a_pair():
    pinned = pins(PYTHONS[0])
    if importlib.metadata.version("torchvision").split("+")[0] != pinned["torchvision"]:
        pytest.skip(
            "this environment does not use the pins, so its torchvision cannot say which torch the pinned one wants"
        )
    needs = [Requirement(text) for text in importlib.metadata.requires("torchvision")]
    assert all(need.specifier.contains(pinned["torch"]) for need in needs if need.name == "torch")


def test_conda_environment_adds_nothing_of_its_own():
    plain = [item for item in ENVIRONMENT["dependencies"] if isinstance(item, str)]
    (nested,) = [item for item in ENVIRONMENT["dependencies"] if not isinstance(item, str)]
    assert [re.split("[=<> ]", item)[0] for item in plain] == ["python", "pip"]
    assert nested == {"pip": ["-c requirements.txt", "-e ."]}


def test_conda_environment_uses_a_supported_python():
    # repo2docker picks its base image from `python=X.Y`; it does not understand a range
    (python,) = [item for item in ENVIRONMENT["dependencies"] if str(item).startswith("python")]
    assert re.fullmatch(r"python=(\d+\.\d+)", python).group(1) in PYTHONS


def test_setup_reads_the_python_range_of_pyproject():
    assert PROJECT["requires-python"] == f">=3.{LOWEST},<3.{TOO_NEW}"


@pytest.mark.parametrize("name", SETUP_FILES)
def test_no_download_address_is_recorded(name):
    text = (ROOT / name).read_text()
    address = r"https?://|file://|--(?:extra-)?index-url|--find-links|\b[\w-]+\.(?:org|com|io|net)\b"
    assert not re.findall(address, text)


def test_make_help_lists_every_target():
    out = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in "lab test reference exercises execute readme reseed bench lint format pins clean".split():
        assert f"make {target} " in out


# ---------------------------------------------------------------------------------------------- setting up

STAND_IN = """#!/bin/sh
# Stands in for Python, for pip and for uv; notes what it is asked to do.
case "$1 $2" in
  "-c "*) printf '{"version": [%s], "path": "%s", "can_make_venv": %s}' \\
    "${FAKE_VERSION:-3, 12, 1}" "$0" "${FAKE_VENV:-true}" ;;
  "-m venv") echo "venv" >> asked; rm -rf "$4"; mkdir -p "$4/bin"; cp "$0" "$4/bin/python" ;;
  "-m pip") echo "pip $*" >> asked; echo "$PIP_SAYS" >&2; exit ${PIP_EXIT:-0} ;;
  "-m uv") echo "uv $*" >> asked; echo "$UV_SAYS" >&2; exit ${UV_EXIT:-0} ;;
esac
"""
DNS_ERROR = "cause: dns error: failed to lookup address information: Temporary failure in name resolution"


class Course:
    """A copy of the files that say what to install, beside a stand-in for Python."""

    def __init__(self, folder: Path):
        self.folder = folder
        (folder / "tools").mkdir(parents=True)
        for name in ("pyproject.toml", "requirements.txt", "tools/setup_env.py"):
            shutil.copy(ROOT / name, folder / name)
        python = folder / "bin" / "python3.12"
        python.parent.mkdir()
        python.write_text(STAND_IN)
        python.chmod(0o755)

    @property
    def asked(self) -> list[str]:
        path = self.folder / "asked"
        return path.read_text().splitlines() if path.exists() else []

    @property
    def is_set_up(self) -> bool:
        return (self.folder / ".venv/course-setup.json").exists()

    def set_up(self, *arguments: str, python: str = "bin/python3.12", **environment: str):
        command = [sys.executable, "tools/setup_env.py", *arguments]
        command += ["--python", str(self.folder / python)] if python else []
        done = subprocess.run(
            command,
            cwd=self.folder,
            env={**os.environ, "BDL_DISK_CHECK": "0", **environment},
            capture_output=True,
            text=True,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done


@pytest.fixture
def course(tmp_path):
    return Course(tmp_path / "course")


def test_first_run_installs_and_second_does_nothing(course):
    first = course.set_up("--extra", "test")
    assert first.returncode == 0 and course.is_set_up
    assert "Later runs start at once" in first.stdout and "Done in" in first.stdout
    venv, pip, uv = course.asked
    assert setup_env.uv_pin() in pip
    assert "--constraint requirements.txt --editable .[setup,test]" in uv and "--torch-backend" not in uv

    second = course.set_up("--extra", "test")
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")
    assert course.set_up().stdout == "", "what the tests need includes what a learner needs"
    assert len(course.asked) == 3


def test_more_extras_or_new_pins_update_what_is_there(course):
    course.set_up()
    assert "Updating .venv" in course.set_up("--extra", "test").stdout
    with open(course.folder / "requirements.txt", "a") as file:
        file.write("# changed\n")
    assert "Updating .venv" in course.set_up().stdout
    assert course.asked.count("venv") == 1
    assert ".[setup,test]" in course.asked[-1], "an update keeps the extras"


def test_unfinished_broken_or_moved_environment_is_made_anew(course):
    failed = course.set_up(UV_EXIT="2", UV_SAYS="killed")
    assert failed.returncode == 1 and not course.is_set_up
    assert "Making .venv anew" in course.set_up().stdout

    (course.folder / ".venv/bin/python").unlink()
    assert "Making .venv anew" in course.set_up().stdout

    course.folder = course.folder.rename(course.folder.with_name("moved elsewhere"))
    assert "Making .venv anew" in course.set_up().stdout
    assert course.is_set_up and course.set_up().stdout == ""


def test_installer_alone(course):
    course.set_up("--installer-only")
    assert [line.split()[0] for line in course.asked] == ["venv", "pip"] and not course.is_set_up


def test_another_python_or_torch_build_is_made_anew_and_then_kept(course):
    course.set_up()
    assert "Making .venv anew" in course.set_up("--torch", "cpu").stdout
    assert "--torch-backend cpu" in course.asked[-1]
    assert course.set_up().stdout == "", "a choice once made holds for later runs that do not name it"
    assert "Python 3.13.2" in course.set_up(FAKE_VERSION="3, 13, 2").stdout


@pytest.mark.parametrize(("version", "what"), [("3, 8, 18", "too old"), ("3, 14, 0", "too new")])
def test_python_outside_the_range(course, version, what):
    done = course.set_up(FAKE_VERSION=version)
    assert done.returncode == 1
    assert "needs Python 3.11, 3.12 or 3.13" in done.stderr
    assert f"is Python {version.replace(', ', '.')} ({what})" in done.stderr
    assert "apt install python3.12" in done.stderr and "PYTHON=" in done.stderr
    assert not (course.folder / ".venv").exists()


def test_python_that_does_not_run(course):
    assert "nowhere does not run" in course.set_up(python="nowhere").stderr


def test_no_python_in_the_range_at_all(monkeypatch):
    old = {"version": [3, 9, 6], "path": "/usr/bin/python3", "can_make_venv": True}
    monkeypatch.setattr(setup_env, "probe", lambda name: old if name == "python3" else None)
    with pytest.raises(setup_env.SetupError, match=r"none here:\n    python3 is Python 3.9.6 \(too old\)"):
        setup_env.find_python()


def test_another_python_is_found_when_the_first_is_too_old(monkeypatch):
    there = {sys.executable: [3, 9, 6], "python3.13": [3, 13, 1], "python3.11": [3, 11, 2]}
    monkeypatch.setattr(
        setup_env,
        "probe",
        lambda name: (
            {"version": there[name], "path": name, "can_make_venv": name != "python3.13"}
            if name in there
            else None
        ),
    )
    assert setup_env.find_python()["path"] == "python3.11", "3.13 has no venv here"


def test_script_starts_on_old_pythons():
    ast.parse((ROOT / "tools/setup_env.py").read_text(), feature_version=(3, 6))


def test_venv_module_missing(course):
    done = course.set_up(FAKE_VENV="false")
    assert done.returncode == 1 and "sudo apt install python3.12-venv" in done.stderr


def test_no_network_for_the_installer(course):
    done = course.set_up(
        PIP_EXIT="1", PIP_SAYS="NewConnectionError(...) ERROR: No matching distribution found for uv"
    )
    assert done.returncode == 1 and "is this computer online?" in done.stderr and "HTTPS_PROXY" in done.stderr


def test_no_network_for_the_packages(course):
    done = course.set_up(UV_EXIT="2", UV_SAYS=DNS_ERROR)
    assert done.returncode == 1 and "is this computer online?" in done.stderr
    assert "--offline" in course.asked[-1], "what was downloaded before may be enough"
    assert not course.is_set_up


def test_no_network_for_an_update_leaves_the_environment_usable(course):
    course.set_up()
    assert course.set_up("--extra", "test", UV_EXIT="2", UV_SAYS=DNS_ERROR).returncode == 1
    assert course.set_up("--extra", "test", PIP_EXIT="1", PIP_SAYS="ConnectTimeout").returncode == 1
    assert course.set_up().stdout == "", "a learner without a network can still open the lessons"


def test_no_network_for_the_cpu_build(course):
    done = course.set_up("--torch", "cpu", UV_EXIT="2", UV_SAYS=DNS_ERROR)
    assert done.returncode == 1 and "Without TORCH everything comes from" in done.stderr


def test_unknown_torch_build(course):
    done = course.set_up("--torch", "gpu")
    assert done.returncode == 1 and "TORCH=gpu is no build of PyTorch" in done.stderr and not course.asked


@pytest.mark.parametrize("said", ["No space left on device (os error 28)", "[Errno 122] Disk quota exceeded"])
def test_disk_full_while_installing(course, said):
    done = course.set_up(UV_EXIT="2", UV_SAYS=f"error: Failed to download torch\n cause: {said}")
    assert done.returncode == 1 and "The disk is full" in done.stderr and not course.is_set_up


def test_too_little_room_is_said_before_anything_starts(monkeypatch, capsys):
    monkeypatch.delenv("BDL_DISK_CHECK", raising=False)
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(setup_env.shutil, "disk_usage", lambda folder: usage(100e9, 97e9, 3e9))
    monkeypatch.setattr(setup_env, "read_stamp", lambda: None)
    monkeypatch.setattr(setup_env.platform, "system", lambda: "Linux")
    monkeypatch.setattr(setup_env, "make_venv", lambda python: pytest.fail("started all the same"))
    assert setup_env.main([]) == 1
    said = capsys.readouterr().err
    assert "7.0 GB of disk space" in said and "3.0 GB free" in said and "make lab TORCH=cpu" in said


def test_other_failures_have_their_sentence():
    assert "make pins" in str(setup_env.diagnose("No solution found when resolving dependencies"))
    assert "has no build for" in str(setup_env.diagnose("torch has no wheels with a matching platform tag"))
    assert "yours to write" in str(setup_env.diagnose("Permission denied (os error 13)"))
    assert "make clean" in str(setup_env.diagnose("something else"))


def test_interruption(monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(setup_env, "set_up", interrupted)
    assert setup_env.main([]) == 1
    assert "The same command again goes on" in capsys.readouterr().err
