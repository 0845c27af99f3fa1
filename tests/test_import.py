"""Importing the package: how little it costs, and that it holds what it names."""

import subprocess
import sys

import pytest

import bdlcore as bdl


def test_importing_the_package_costs_little_more_than_torch():
    """Modules that are slow to import are loaded on first use; a slow one here would cost every notebook its time."""
    code = "import sys, bdlcore; print([m for m in sys.argv[1:] if m in sys.modules])"
    heavy = [
        "matplotlib",
        "ipywidgets",
        "sklearn",
        "scipy.stats",
        "torchvision",
        "torch._dynamo",
        "nbgrader",
        "skimage",
    ]
    result = subprocess.run([sys.executable, "-c", code, *heavy], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_unknown_names_are_not_silently_none():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        bdl.nonsense  # noqa: B018
    assert set(bdl.__all__) <= {name for name in bdl.__all__ if getattr(bdl, name) is not None}
