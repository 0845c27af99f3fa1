"""Every example in a docstring of bdlcore runs and gives what it says."""

import doctest
import importlib
import pkgutil

import pytest

import bdlcore

MODULES = ["bdlcore", *(m.name for m in pkgutil.walk_packages(bdlcore.__path__, "bdlcore."))]
EXAMPLES = {"bdlcore", "bdlcore.likelihoods.protocol", "bdlcore.notebook.claims"}


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    module = importlib.import_module(name)
    found = doctest.testmod(module, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert found.failed == 0
    assert found.attempted or name not in EXAMPLES


@pytest.mark.parametrize("name", bdlcore.__all__)
def test_public_names_are_documented(name):
    value = getattr(bdlcore, name)
    assert (value.__doc__ or "").strip(), f"bdl.{name} has no docstring"
    assert name == "plots" or callable(value) or hasattr(value, "__path__") or hasattr(value, "__file__")
