"""The set-up: one set of pins behind every way in, and a helpful sentence for each way in which it can fail.

No test here installs anything or needs a network: tools/setup_env.py runs against a stand-in for pip and uv.
"""

import ast
import importlib.metadata
import importlib.util
import ntpath
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace

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
    ".binder/environment.yml",
    ".binder/postBuild",
    ".devcontainer/devcontainer.json",
]


LOWEST, TOO_NEW = map(int, re.fullmatch(r">=3\.(\d+),<3\.(\d+)", PROJECT["requires-python"]).groups())
PYTHONS = [f"3.{minor}" for minor in range(LOWEST, TOO_NEW)]


def load_setup(folder: Path = ROOT):
    spec = importlib.util.spec_from_file_location("setup_env", folder / "tools/setup_env.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


setup_env = load_setup()


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
    assert nested == {"pip": ["-c requirements.txt", "-e .[lab]"]}


def test_conda_environment_uses_a_supported_python():
    # repo2docker picks its base image from `python=X.Y`; it does not understand a range
    (python,) = [item for item in ENVIRONMENT["dependencies"] if str(item).startswith("python")]
    assert re.fullmatch(r"python=(\d+\.\d+)", python).group(1) in PYTHONS


def test_pins_hold_for_the_lowest_python_whichever_one_writes_them():
    assert f"--python-version 3.{LOWEST} " in (ROOT / "Makefile").read_text()


def test_oldest_uv_is_the_one_of_pyproject():
    assert PROJECT["optional-dependencies"]["setup"] == ["uv>={}.{}".format(*setup_env.OLDEST_UV)]


@pytest.mark.parametrize("name", SETUP_FILES)
def test_no_download_address_is_recorded(name):
    text = (ROOT / name).read_text()
    address = r"https?://|file://|--(?:extra-)?index-url|--find-links|\b[\w-]+\.(?:org|com|io|net)\b"
    assert not re.findall(address, text)


def test_make_help_lists_every_target():
    out = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in "lab test reference exercises execute readme confirm bench lint format pins clean".split():
        assert f"make {target} " in out


# ---------------------------------------------------------------------------------------------- setting up

DNS_ERROR = "cause: dns error: failed to lookup address information: Temporary failure in name resolution"


class Course:
    """A copy of the files that say what to install, on a computer where pip and uv only note what they are asked."""

    def __init__(self, folder: Path, monkeypatch):
        self.folder = folder
        self.monkeypatch = monkeypatch
        self.asked: list[str] = []
        self.uv_version = "0.13.9"  # of the uv on PATH; "" for none
        self.fails = {
            "--offline": "torch was not found in the cache"
        }  # part of a command: what it says and fails
        (folder / "tools").mkdir(parents=True)
        for name in ("pyproject.toml", "requirements.txt", "tools/setup_env.py"):
            shutil.copy(ROOT / name, folder / name)
        monkeypatch.setenv("BDL_DISK_CHECK", "0")
        monkeypatch.setattr(shutil, "which", self.which)
        self.open()

    def open(self):
        """Load the set-up from where the course is now."""
        self.setup = load_setup(self.folder)
        self.monkeypatch.setattr(self.setup, "quietly", self.quietly)
        self.monkeypatch.setattr(self.setup, "visibly", lambda command: self.quietly(command)[0])

    def which(self, name, path=None):
        if path:  # where pip puts the installer
            return "pinned-uv" if any("uv==" in command for command in self.asked) else None
        return "uv" if self.uv_version else None

    def quietly(self, command, **variables):
        words = " ".join(command)
        if words.endswith("--version"):
            return 0, f"uv {self.uv_version if command[0] == 'uv' else '0.13.9'} (made up)"
        if words.endswith("import pip"):
            return 0 if self.python.exists() else 1, ""
        self.asked.append(words)
        for part, said in self.fails.items():
            if part in words:
                return 1, said
        if " venv --clear" in words and str(self.folder / ".venv") in words:
            shutil.rmtree(self.folder / ".venv", ignore_errors=True)
            self.python.parent.mkdir(parents=True)
            self.python.touch()
        return 0, ""

    @property
    def python(self) -> Path:
        return Path(self.setup.python_in(self.folder / ".venv"))

    @property
    def is_set_up(self) -> bool:
        return (self.folder / ".venv/course-setup.json").exists()

    def asks(self, part: str) -> list[str]:
        return [command for command in self.asked if part in command]

    def set_up(self, *arguments: str) -> int:
        self.asked.clear()
        return self.setup.main(list(arguments))


@pytest.fixture
def course(tmp_path, monkeypatch):
    return Course(tmp_path / "course", monkeypatch)


def test_first_run_installs_and_second_does_nothing(course, capsys):
    assert course.set_up("--extra", "test") == 0 and course.is_set_up
    said = capsys.readouterr().out
    assert "downloads up to" in said and "later runs start at once" in said
    venv, offline, install = course.asked
    assert venv == f"uv venv --clear {course.folder / '.venv'}", (
        "which Python is left to uv and requires-python"
    )
    assert (
        "--constraint requirements.txt --editable .[lab,test] pip" in install
        and "--torch-backend" not in install
    )
    assert offline == install + " --offline", "what was downloaded before needs no network"

    assert course.set_up("--extra", "test") == 0
    assert course.set_up() == 0, "what the tests need includes what a learner needs"
    assert capsys.readouterr() == ("", "") and not course.asked


def test_downloads_nothing_that_is_there(course, capsys):
    course.fails = {}
    assert course.set_up() == 0 and course.is_set_up
    assert course.asked[-1].endswith("--offline") and "downloads" not in capsys.readouterr().out


def test_more_extras_or_new_pins_update_what_is_there(course, capsys):
    course.set_up()
    course.set_up("--extra", "test")
    with open(course.folder / "requirements.txt", "a") as file:
        file.write("# changed\n")
    course.set_up()
    assert capsys.readouterr().out.count("Updating .venv") == 2
    assert ".[lab,test]" in course.asked[-1], "an update keeps the extras"
    assert not course.asks("venv --clear")


def test_unfinished_broken_or_moved_environment_is_made_anew(course):
    course.fails["pip install"] = "killed"
    assert course.set_up() == 1 and not course.is_set_up
    del course.fails["pip install"]
    assert course.set_up() == 0 and course.asks("venv --clear")

    course.python.unlink()
    assert course.set_up() == 0 and course.asks("venv --clear")

    course.folder = course.folder.rename(course.folder.with_name("moved elsewhere"))
    course.open()
    assert course.set_up() == 0 and course.asks("venv --clear")
    assert course.set_up() == 0 and not course.asked


def test_another_python_or_torch_build_is_made_anew_and_then_kept(course):
    course.set_up("--extra", "test")
    course.set_up("--torch", "cpu")
    assert course.asks("venv --clear") and course.asks("--torch-backend cpu") and course.asks(".[lab,test]")
    course.set_up("--python", "3.13")
    assert course.asks("venv --clear --python 3.13") and course.asks("--torch-backend cpu")
    course.set_up()
    assert not course.asked, "a choice once made holds for later runs that do not name it"


def test_pins_need_nothing_but_uv(course):
    assert course.set_up("--python", "", "--uv", "pip", "compile", "--quiet") == 0
    assert course.asked == ["uv pip compile --quiet"] and not course.is_set_up


# ---------------------------------------------------------------------------------------------- where uv comes from


@pytest.mark.parametrize("version", ["", "0.4.30"])
def test_pip_brings_the_pinned_uv_where_it_is_missing_or_old(course, version):
    course.uv_version = version
    assert course.set_up() == 0
    assert "-m pip install --target" in course.asked[0]
    assert re.search(rf" uv=={re.escape(pins(PYTHONS[0])['uv'])}$", course.asked[0])
    assert course.asked[-1].startswith("pinned-uv ")


def without_pip(course):
    find_spec = importlib.util.find_spec
    course.uv_version = ""
    course.monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "pip" else find_spec(name, *rest)
    )


def test_venv_brings_pip_where_that_is_missing(course):
    without_pip(course)
    assert course.set_up() == 0
    venv, pip = course.asked[:2]
    assert f"-m venv --clear {course.folder / 'build/uv'}" in venv
    assert pip.startswith(str(course.folder / "build/uv")) and "-m pip install" in pip


def test_neither_uv_nor_pip_nor_venv(course, capsys):
    without_pip(course)
    course.fails["-m venv"] = "The virtual environment was not created because ensurepip is not available."
    assert course.set_up() == 1 and "apt install python3-venv" in capsys.readouterr().err


def test_starting_python_too_old_to_bring_uv(course, capsys):
    course.uv_version = ""
    course.monkeypatch.setattr(sys, "version_info", (3, 7, 16))
    assert course.set_up() == 1 and not course.asked
    assert "too old to bring it" in capsys.readouterr().err


def test_script_starts_on_old_pythons():
    ast.parse((ROOT / "tools/setup_env.py").read_text(), feature_version=(3, 6))


def test_windows_has_its_own_folders(monkeypatch):
    monkeypatch.setattr(setup_env, "os", SimpleNamespace(name="nt", path=ntpath))
    assert setup_env.python_in(r"C:\course\.venv") == r"C:\course\.venv\Scripts\python.exe"


def test_windows_says_how_to_open_the_course(course, capsys):
    windows = {**vars(os), "name": "nt"}
    course.monkeypatch.setattr(course.setup, "os", SimpleNamespace(**windows))
    assert course.set_up() == 0 and course.is_set_up
    assert r".venv\Scripts\python tools\learner_copy.py --open" in capsys.readouterr().out


# ---------------------------------------------------------------------------------------------- what can go wrong


@pytest.mark.parametrize(
    "said",
    [
        "error: No interpreter found at path `nowhere`",
        "error: No interpreter found for Python >=3.11 hint: A managed download is available, but uv is offline",
        "error: Failed to inspect Python interpreter from provided path at `/bin/ls`",
        f"cause: Failed to download `…/cpython-3.14.10-install_only.tar.gz` {DNS_ERROR}",
    ],
)
def test_no_python_to_be_had(course, capsys, said):
    course.set_up()
    course.fails["uv venv"] = said
    assert course.set_up("--python", "nowhere") == 1
    problem = capsys.readouterr().err
    assert f"needs Python {PROJECT['requires-python']}" in problem
    assert "apt install python3.12" in problem and "PYTHON=" in problem
    assert course.set_up() == 0 and not course.asked, "what was there still works"


def test_python_outside_the_range(course, capsys):
    course.set_up()
    course.fails["python find"] = "Python 3.8.18 is incompatible with the project's Python requirement"
    assert course.set_up("--python", "python3.8") == 1
    problem = capsys.readouterr().err
    assert "3.8.18 is incompatible" in problem and f"needs Python {PROJECT['requires-python']}" in problem
    assert course.set_up() == 0 and not course.asked, "what was there still works"


def test_no_network_for_the_installer(course, capsys):
    course.uv_version = ""
    course.fails["-m pip"] = "NewConnectionError(...) ERROR: No matching distribution found for uv"
    assert course.set_up() == 1
    problem = capsys.readouterr().err
    assert "is this computer online?" in problem and "HTTPS_PROXY" in problem


def test_no_network_for_the_packages(course, capsys):
    course.fails["pip install"] = DNS_ERROR
    assert course.set_up() == 1 and not course.is_set_up
    problem = capsys.readouterr().err
    assert "is this computer online?" in problem and "With TORCH=" in problem


def test_no_network_for_an_update_leaves_the_environment_usable(course):
    course.set_up()
    course.fails["pip install"] = DNS_ERROR
    assert course.set_up("--extra", "test") == 1
    assert course.set_up() == 0 and not course.asked, "a learner without a network can still open the lessons"


def test_unknown_torch_build(course, capsys):
    assert course.set_up("--torch", "gpu") == 1 and not course.asked
    assert "TORCH=gpu is no build of PyTorch" in capsys.readouterr().err


@pytest.mark.parametrize(
    "said",
    ["No space left on device (os error 28)", "[Errno 122] Disk quota exceeded", "full (os error 112)"],
)
def test_disk_full_while_installing(course, capsys, said):
    course.fails["pip install"] = f"error: Failed to download torch\n cause: {said}"
    assert course.set_up() == 1 and not course.is_set_up
    assert "The disk is full" in capsys.readouterr().err


def test_too_little_room_is_said_before_anything_is_downloaded(course, capsys):
    course.monkeypatch.delenv("BDL_DISK_CHECK")
    course.monkeypatch.setattr(course.setup.platform, "system", lambda: "Linux")
    usage = namedtuple("usage", "total used free")
    course.monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(100e9, 97e9, 3e9))
    assert course.set_up() == 1 and course.asked[-1] == "uv cache dir"
    said = capsys.readouterr()
    assert "make lab TORCH=cpu" in said.out
    assert "7.0 GB of disk space" in said.err and "3.0 GB free" in said.err
    assert course.set_up("--torch", "cpu") == 0, "which fits"


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (
            "No solution found when resolving dependencies: torch has no wheels with a matching\n platform tag",
            "no build",
        ),
        ("No solution found when resolving dependencies", "make pins"),
        ("failed to create directory: Permission denied (os error 13)", "yours to write"),
        ("[WinError 5] Access is denied", "JupyterLab"),
        ("something else", "make clean"),
    ],
)
def test_other_failures_have_their_sentence(said, answer):
    assert answer in str(setup_env.explained(said))


def test_folder_that_cannot_be_written(course, capsys):
    def refused(*_):
        raise PermissionError(13, "Permission denied", ".venv")

    course.monkeypatch.setattr(course.setup, "write_stamp", refused)
    assert course.set_up() == 1 and "yours to write" in capsys.readouterr().err


def test_interruption(course, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    course.monkeypatch.setattr(course.setup, "visibly", interrupted)
    assert course.set_up() == 1 and not course.is_set_up
    assert "The same command again goes on" in capsys.readouterr().err


def test_a_command_that_fails_runs_again_to_tell_why(capfd):
    setup_env.run([sys.executable, "-c", "print('seen')"])
    assert capfd.readouterr().out == "seen\n", "a person sees what an installer says"
    with pytest.raises(setup_env.NoNetwork, match="online"):
        setup_env.run([sys.executable, "-c", "import sys; sys.exit('ConnectTimeout')"])


def test_a_second_try_that_works_is_good_enough(tmp_path):
    tried = str(tmp_path / "tried")
    fails_once = f"import os; os.path.exists({tried!r}) or os.mkdir({tried!r}) or 1 / 0"
    setup_env.run([sys.executable, "-c", fails_once])
