"""The experiments, one module each, in the order of the lessons."""

from importlib import import_module

NAMES = (
    "collapse",
    "prior_std",
    "correlations",
    "evidence",
    "rbf_process",
    "deep_image_prior",
    "temperature",
    "corruption",
    "width",
)


def load(name: str):
    """The `Experiment` of a name; its module is loaded on first use."""
    return import_module(f"{__name__}.{name}").EXPERIMENT
