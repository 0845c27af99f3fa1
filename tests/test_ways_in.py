"""Ways to try the course without setting it up: they use the same pins, and keep the PyTorch that is there."""

import importlib.metadata
import json
import re
import shutil
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import colab_cell
import jsonschema
import nbformat
import pytest
import yaml
from execute_notebooks import notebooks
from IPython.core.inputtransformer2 import TransformerManager
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXPECTED_SECONDS = 15


def ran(source: str) -> list[tuple]:
    """The magics that a cell calls in this process."""
    called = []
    shell = type("Shell", (), {"run_line_magic": lambda self, *given: called.append(given)})()
    exec(TransformerManager().transform_cell(source), {"get_ipython": lambda: shell})
    return called


def test_colab_cell_does_nothing_where_the_package_is(monkeypatch):
    source = colab_cell.cell("https://example.org/owner/course")
    assert ran(source) == []
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert ran(source) == [("pip", 'install --quiet "bdlcore @ git+https://example.org/owner/course"')]
    with pytest.raises(ValueError, match="repository-code"):
        colab_cell.cell("")


@pytest.mark.parametrize("name", ["lessons", "exercises"])
def test_the_cell_comes_before_all_code_and_changes_nothing_else(name):
    (path, *_) = notebooks(name)
    plain, ready = nbformat.read(path, as_version=4), nbformat.read(path, as_version=4)
    colab_cell.put_into(ready, "https://example.org/owner/course")
    nbformat.validate(ready)
    first = next(cell for cell in ready.cells if cell.cell_type == "code")
    assert first.source == colab_cell.cell("https://example.org/owner/course").rstrip()
    ready.cells.remove(first)
    assert ready == plain


# What Colab had in February 2026 (its own list, googlecolab/backend-info) of what the course needs and of what must
# stay as it is: pages there show the widgets of ipywidgets 7 alone, and a kernel cannot be changed while it runs.
COLAB = {
    "torch": "2.10.0+cu128",
    "torchvision": "0.25.0+cu128",
    "numpy": "2.0.2",
    "scipy": "1.16.3",
    "scikit-learn": "1.6.1",
    "joblib": "1.3.2",  # that of October 2023, the last one looked up: scikit-learn brings it
    "threadpoolctl": "3.1.0",  # the oldest that this scikit-learn allows
    "scikit-image": "0.25.2",
    "matplotlib": "3.10.0",
    "safetensors": "0.7.0",
    "tqdm": "4.67.3",
    "psutil": "5.9.5",
    "ipykernel": "6.17.1",
    "ipywidgets": "7.7.1",
    "anywidget": "0.9.21",
}
NOT_ON_COLAB = {"mnist1d"}


def test_colab_has_all_but_one_of_what_the_package_needs():
    needed = {Requirement(text).name: Requirement(text) for text in PROJECT["dependencies"]}
    assert set(needed) - set(COLAB) == NOT_ON_COLAB
    too_old = [name for name in set(needed) & set(COLAB) if COLAB[name] not in needed[name].specifier]
    assert not too_old


NEWER = {Requirement(text).name: "99.0" for text in PROJECT["dependencies"]} | {"torch": "99.0+cu999"}
FOUND = {"newer": NEWER, "Colab's": COLAB | {name: NEWER[name] for name in NOT_ON_COLAB}}


@pytest.mark.parametrize("found", FOUND.values(), ids=FOUND)
def test_installing_keeps_what_is_there(tmp_path, found):
    """A clean environment with these packages, and no network: pip must want nothing else."""
    venv.create(tmp_path / "env", with_pip=True)
    (packages,) = (tmp_path / "env").glob("[Ll]ib/**/site-packages")
    for name, version in found.items():
        folder = packages / f"{name.replace('-', '_')}-{version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (folder / "INSTALLER").write_text("pip\n")
    own = Path(importlib.metadata.distribution("setuptools").locate_file(""))  # a build would fetch it
    for folder in [*packages.glob("setuptools*"), *packages.glob("_distutils_hack")]:
        shutil.rmtree(folder)
    for folder in [*own.glob("setuptools*"), own / "_distutils_hack"]:
        shutil.copytree(folder, packages / folder.name)
    (python,) = [*(tmp_path / "env").glob("bin/python"), *(tmp_path / "env").glob("Scripts/python.exe")]
    course = tmp_path / "course"
    subprocess.run(["git", "clone", "-q", "--depth=1", ROOT.as_uri(), course], check=True)
    install = ["install", "--quiet", "--no-index", "--no-build-isolation", f"bdlcore @ {course.as_uri()}"]
    done = subprocess.run([python, "-I", "-m", "pip", *install], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (packages / "bdlcore/__init__.py").exists()
    kept = {f"{name.replace('-', '_')}-{version}.dist-info" for name, version in found.items()}
    assert kept <= {path.name for path in packages.iterdir()}


def test_binder_and_the_container_use_the_pins_and_the_small_torch():
    binder = yaml.safe_load((ROOT / ".binder/environment.yml").read_text())
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert binder["dependencies"][:2] == conda["dependencies"][:2]
    assert binder["dependencies"][2] == {"pip": PROJECT["optional-dependencies"]["setup"]}
    script = ROOT / ".binder/postBuild"
    assert "--torch-backend cpu -c requirements.txt -e '.[lab]'" in script.read_text()
    subprocess.run(["bash", "-n", script], check=True)
    assert sys.platform == "win32" or script.stat().st_mode & 0o111
    container = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text())
    assert container["postCreateCommand"] == "python tools/setup_env.py --torch cpu"


def test_public_checks_run_the_commands_of_the_readme():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = re.findall(
        r"^(make \w+) ", text.partition("## Two commands")[2].partition("## ")[0], re.MULTILINE
    )
    workflow = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text())
    steps = workflow["jobs"]["two-commands"]["steps"]
    assert [step["name"] for step in steps if "run" in step] == commands == ["make lab", "make test"]
    for step in steps:
        assert "run" not in step or f"{step['name']} TORCH=cpu" in step["run"]


# The Citation File Format 1.2.0 (doi.org/10.5281/zenodo.5171937), of which these are the keys that software uses
TEXT = {"type": "string", "minLength": 1}
ADDRESS = {"type": "string", "pattern": r"^https?://[^\s/]+\.[^\s/]+"}
PERSON = dict.fromkeys(("family-names", "given-names", "name-particle", "name-suffix", "affiliation"), TEXT)
PERSON |= {
    "orcid": {"type": "string", "pattern": r"^https://orcid\.org/(\d{4}-){3}\d{3}[\dX]$"},
    "website": ADDRESS,
}
CITATION = {
    "type": "object",
    "additionalProperties": False,
    "required": ["cff-version", "message", "title", "authors"],
    "properties": {
        "cff-version": {"const": "1.2.0"},
        "type": {"enum": ["software", "dataset"]},
        "authors": {
            "type": "array",
            "minItems": 1,
            "uniqueItems": True,
            "items": {
                "anyOf": [
                    {
                        "type": "object",
                        "additionalProperties": False,
                        "minProperties": 1,
                        "properties": PERSON,
                    },
                    {
                        "type": "object",
                        "additionalProperties": False,
                        "required": ["name"],
                        "properties": {"name": TEXT, "website": ADDRESS},
                    },
                ]
            },
        },
        "keywords": {"type": "array", "minItems": 1, "uniqueItems": True, "items": TEXT},
        "date-released": {"type": "string", "pattern": r"^\d{4}-(0\d|1[0-2])-([0-2]\d|3[01])$"},
        "doi": {"type": "string", "pattern": r"^10\.\d{4,9}(\.\d+)?/\S+$"},
        **dict.fromkeys(("message", "title", "abstract", "version", "license", "commit"), TEXT),
        **dict.fromkeys(("repository-code", "repository", "url", "license-url"), ADDRESS),
    },
}


def citation(text: str) -> dict:
    """A CITATION.cff that is valid; jsonschema's ValidationError otherwise."""
    found = yaml.load(text, yaml.BaseLoader)  # dates stay as they are written
    jsonschema.validate(found, CITATION)
    return found


def test_the_citation_file_is_valid_and_of_this_version():
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    found = citation(text)
    assert (found["version"], found["license"]) == (PROJECT["version"], PROJECT["license"])
    commented = re.search(r"add: (repository-code): <", text)[1]
    citation(f"{text}{commented}: https://example.org/owner/course\ndate-released: 2026-02-28\n")


@pytest.mark.parametrize(
    "old, new, said",
    [
        ("authors:", "author:", "'author' was unexpected"),
        ("message: ", "# message: ", "'message' is a required property"),
        ("cff-version: 1.2.0", "cff-version: 1.2", "'1.2.0' was expected"),
        ("type: software", "type: course", "'course' is not one of"),
        ("- name: ", "- nom: ", "not valid under any of the given schemas"),
        ("license: ", "repository-code: <its address>\nlicense: ", "does not match"),
        ("license: ", "date-released: 28.2.2026\nlicense: ", "does not match"),
    ],
)
def test_a_wrong_citation_file_is_refused(old, new, said):
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.search(f"^.*?{old}", text, re.MULTILINE)
    with pytest.raises(jsonschema.ValidationError, match=said):
        citation(re.sub(f"^( *){old}", rf"\1{new}", text, flags=re.MULTILINE))


def test_issue_templates_ask_for_something():
    for path in (ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml"):
        template = yaml.safe_load(path.read_text())
        assert template["name"] and template["description"]
        assert all(field["attributes"]["label"] for field in template["body"])
        assert any(field["validations"]["required"] for field in template["body"])
