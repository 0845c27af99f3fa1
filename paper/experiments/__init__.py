"""The experiments, one module each, in the order of the lessons."""

from importlib import import_module

NAMES = ("collapse", "rbf_process")


def load(name: str):
    """The `Experiment` of a name; its module is loaded on first use."""
    return import_module(f"{__name__}.{name}").EXPERIMENT
