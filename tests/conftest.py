"""Fixtures that several test modules share, and the shift of all seeds that `make soak` uses.

With `--seed-shift k` (or BDL_TEST_SHIFT=k) every seed that a test or bdlcore sets becomes another one. A test of
what is true must hold under every shift; one that fails under some rests on one random stream, and breaks on a
processor where the stream leads elsewhere.
"""

import os
import sys

import numpy as np
import pytest
import torch

import bdlcore as bdl

STRIDE = 1_000_003  # seeds of neighbouring shifts must not meet: tests use small ones


def pytest_addoption(parser: pytest.Parser) -> None:
    shift = int(os.environ.get("BDL_TEST_SHIFT") or 0)
    parser.addoption(
        "--seed-shift", type=int, default=shift, help="shift all seeds of the unit tests (or BDL_TEST_SHIFT)"
    )


def pytest_configure(config: pytest.Config) -> None:
    os.environ["BDL_SOLVED"] = "0"  # what a test solves, no learner has
    if shift := config.getoption("seed_shift"):
        shift_seeds(STRIDE * shift)


def pytest_report_header(config: pytest.Config) -> str | None:
    shift = config.getoption("seed_shift")
    return f"all seeds shifted: {shift}" if shift else None


def shift_seeds(by: int) -> None:
    """Add `by` to the seeds of generators that are made from now on, in this process.

    bdlcore turns each (seed, stream, row) into the seed of a torch.Generator, so those are shifted as well.
    """
    Plain, seed_all, numpy_generator = torch.Generator, torch.manual_seed, np.random.default_rng

    class AnyGenerator(type(Plain)):
        def __instancecheck__(cls, instance: object) -> bool:  # torch itself makes plain ones
            return isinstance(instance, Plain)

    class Shifted(Plain, metaclass=AnyGenerator):
        def manual_seed(self, seed: int) -> torch.Generator:
            super().manual_seed(seed + by)
            return self

    def default_rng(seed: object = None) -> np.random.Generator:
        return numpy_generator(seed + by if isinstance(seed, int) else seed)

    torch.Generator = Shifted
    torch.manual_seed = lambda seed: seed_all(seed + by)
    np.random.default_rng = default_rng
    torch.manual_seed(0)  # for what draws from the global generator without seeding it


@pytest.fixture(autouse=True)
def same_stream_for_every_test():
    """What a test draws from PyTorch's global generator does not depend on which tests ran before it."""
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def no_shell_outlives_its_test():
    """In a shell bdlcore displays what it would print: a shell left behind would change what later tests see."""
    yield
    shell = sys.modules.get("IPython.core.interactiveshell")
    if shell and shell.InteractiveShell.initialized():
        shell.InteractiveShell.clear_instance()
        pytest.fail(
            "the test leaves an IPython shell behind; clear it with InteractiveShell.clear_instance()."
        )


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium of one test module, without a network; the test is skipped where there is none."""
    from browsers import chromium  # here, since most tests and `make soak` need no Playwright

    with chromium() as launched:
        yield launched


@pytest.fixture
def model():
    """A small regression network with two outputs."""
    return bdl.Model(
        bdl.nets.mlp(1, 10, 2), bdl.GaussianPrior(std=0.7, fan_in=True), bdl.Gaussian(noise_std=0.3)
    )


@pytest.fixture
def regression():
    """Twelve points for `model`: x (12, 1), y (12, 2), float64."""
    g = torch.Generator().manual_seed(0)
    x = torch.randn(12, 1, generator=g, dtype=torch.float64)
    return x, torch.cat([x.sin(), x.cos()], 1)
