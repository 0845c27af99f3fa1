"""What processor this is, and the tanh of those that MKL serves badly."""

import importlib

import pytest
import torch

import bdlcore as bdl
from bdlcore._support import processor

mlp = importlib.import_module("bdlcore.nets.mlp")  # `bdlcore.nets.mlp` is the function
LINUX = "processor\t: 0\nvendor_id\t: {}\nmodel name\t: A Name @ 2.80GHz\n\nprocessor\t: 1\n"


@pytest.fixture
def told(monkeypatch):
    """A function that makes the system tell this of the processor."""

    def tell(cpuinfo: str | None, to_python: str = "", mkl: bool = True) -> None:
        def read_text(path, **_):
            if cpuinfo is None:
                raise FileNotFoundError(path)
            return cpuinfo

        monkeypatch.setattr(processor.Path, "read_text", read_text)
        monkeypatch.setattr(processor.platform, "processor", lambda: to_python)
        monkeypatch.setattr(processor.platform, "machine", lambda: "a kind")
        monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: mkl)
        forget()

    yield tell
    monkeypatch.undo()
    forget()


def forget() -> None:
    processor.name.cache_clear()
    processor.vector_functions_are_slow.cache_clear()


def test_a_name_is_found_on_any_system(told):
    told(LINUX.format("AuthenticAMD"))
    assert processor.name() == "A Name @ 2.80GHz"
    told(None, "Intel64 Family 6")
    assert processor.name() == "Intel64 Family 6"
    told(None)
    assert processor.name() == "a kind"


@pytest.mark.parametrize(
    ("cpuinfo", "to_python", "mkl", "slow"),
    [
        (LINUX.format("GenuineIntel"), "", True, False),
        (LINUX.format("AuthenticAMD"), "", True, True),
        (LINUX.format("AuthenticAMD"), "", False, False),
        (None, "Intel64 Family 6 Model 85, GenuineIntel", True, False),
        (None, "AMD64 Family 25 Model 33, AuthenticAMD", True, True),
        (None, "arm", False, False),
    ],
)
def test_mkl_is_slow_where_another_maker_is_named(told, cpuinfo, to_python, mkl, slow):
    told(cpuinfo, to_python, mkl)
    assert processor.vector_functions_are_slow() is slow


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tanh_by_sigmoid_is_tanh(dtype):
    x = torch.linspace(-25, 25, 100_001, dtype=dtype)
    got = mlp._tanh_by_sigmoid_(x.clone())
    assert got.dtype == dtype and (got - torch.tanh(x)).abs().max() <= 2 * torch.finfo(dtype).eps
    edges = torch.tensor([0.0, torch.inf, -torch.inf, torch.nan], dtype=dtype)
    torch.testing.assert_close(
        mlp._tanh_by_sigmoid_(edges.clone()), torch.tanh(edges), rtol=0, atol=0, equal_nan=True
    )


@pytest.mark.parametrize(("activation", "another"), [("tanh", True), ("relu", False)])
def test_a_gradient_is_the_same_on_processors_that_mkl_serves_badly(monkeypatch, activation, another):
    network = bdl.nets.mlp(2, 7, 5, 1, activation=activation)
    model = bdl.Model(network, bdl.GaussianPrior(1.0), bdl.Gaussian(0.3))
    weights = model.sample_prior(4, seed=0, dtype=torch.float64).weights
    x = torch.randn(9, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    results = []
    for slow in (False, True):
        monkeypatch.setattr(processor, "vector_functions_are_slow", lambda slow=slow: slow)
        passes = network.pullback_at(weights)
        f, pull = passes(x)
        results.append((passes.activate, f.clone(), pull(torch.ones_like(f)).clone()))
    (usual, *want), (used, *got) = results
    assert (used is not usual) == another
    torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)
