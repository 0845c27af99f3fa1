"""Jacobians of all kinds of networks against one backward pass per datum and output."""

import pytest
import torch
import torch.nn.functional as F
from small_posteriors import naive_jacobian
from torch import nn

import bdlcore as bdl
from bdlcore.curvature.jacobians import Jacobian, find_blocks, last_layer


class Scaled(nn.Module):
    """Weights outside of layers, and normalisation: only torch.func can differentiate it datum by datum."""

    def __init__(self):
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2)
        self.temperature = nn.Parameter(torch.ones(2))

    def forward(self, x):
        return self.last(torch.tanh(self.norm(self.first(x)))) * self.temperature.exp()


class Tied(nn.Module):
    """One weight matrix as a layer and, transposed, as a function."""

    def __init__(self):
        super().__init__()
        self.encode = nn.Linear(3, 2)

    def forward(self, x):
        return F.linear(torch.tanh(self.encode(x)), self.encode.weight.T)


class Repeated(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def forward(self, x):
        return self.layer(torch.tanh(self.layer(x)))


class Sequence(nn.Module):
    """One dense layer at several positions of a datum."""

    def __init__(self):
        super().__init__()
        self.embed, self.last = nn.Linear(1, 4), nn.Linear(4, 2)

    def forward(self, x):
        return self.last(torch.tanh(self.embed(x[..., None])).mean(1))


class DataSecond(Sequence):
    """The same with positions before data inside, as some recurrent networks have it."""

    def forward(self, x):
        return self.last(torch.tanh(self.embed(x.T[..., None])).mean(0))


def convolutions():
    return nn.Sequential(
        nn.Conv2d(1, 2, (3, 2), stride=(2, 1), padding=1, dilation=(1, 2), bias=False),
        nn.ReLU(inplace=True),
        nn.Conv2d(2, 3, 2),
        nn.Tanh(),
        nn.Flatten(),
        nn.LazyLinear(2),
    )


NETWORKS = {
    "linear": (lambda: nn.Linear(3, 2), (3,), True),
    "mlp": (lambda: bdl.nets.mlp(3, 5, 4, 2, activation="silu"), (3,), True),
    "cnn": (lambda: bdl.nets.cnn((1, 6, 6), channels=(2,), hidden=3, outputs=2), (1, 6, 6), True),
    "convolutions": (convolutions, (1, 6, 6), True),
    "in place": (lambda: nn.Sequential(nn.Linear(3, 4), nn.ReLU(inplace=True), nn.Linear(4, 2)), (3,), True),
    "sequence": (Sequence, (3,), True),
    "no layers": (Scaled, (3,), False),
    "tied": (Tied, (3,), False),
    "repeated": (Repeated, (3,), False),
    "data second": (DataSecond, (3,), False),
    "grouped": (lambda: nn.Sequential(nn.Conv2d(2, 2, 2, groups=2), nn.Flatten()), (2, 2, 2), False),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_jacobians_of_any_module(name):
    make, shape, layered = NETWORKS[name]
    x = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    network = make().double()
    network(x)  # gives lazy layers their shapes
    model = bdl.Model(network, bdl.GaussianPrior(1.3, bias_std=0.6), bdl.Gaussian(1.0))
    theta = model.sample_prior(1, seed=0, dtype=x.dtype).theta[0]
    jacobian = Jacobian(model, model.layout.names, theta, x)
    assert (jacobian.blocks is not None) == layered, jacobian.obstacle
    f, J = jacobian(theta, x)
    assert J.shape == (3, f.shape[1], model.layout.dim)
    torch.testing.assert_close(f, model.forward(theta[None], x)[0])
    torch.testing.assert_close(J, naive_jacobian(model, theta, x))
    some = model.layout.names[-1:]
    part = Jacobian(model, some, theta, x)
    torch.testing.assert_close(part(theta, x)[1], J[..., part.columns])
    if not layered:
        y = torch.zeros(3, f.shape[1], dtype=x.dtype)
        with pytest.raises(ValueError, match="structure='kron' needs a network whose weights all belong"):
            bdl.laplace(model, x, y, structure="kron")


def test_the_last_layer_is_the_one_called_last():
    class Unordered(nn.Module):
        def __init__(self):
            super().__init__()
            self.head, self.body = nn.Linear(4, 1), nn.Linear(2, 4)

        def forward(self, x):
            return self.head(self.body(x).relu())

    model = bdl.Model(Unordered(), bdl.GaussianPrior(), bdl.Gaussian(1.0))
    theta = model.sample_prior(1, seed=0).theta[0]
    assert last_layer(model, theta, torch.ones(1, 2)) == ("head.weight", "head.bias")


def test_layers_are_found_by_parameter_names():
    blocks = find_blocks(bdl.nets.mlp(2, 3, 1), ["layers.1.weight", "layers.1.bias"])
    assert list(blocks) == ["layers.1"] and blocks["layers.1"].bias == "layers.1.bias"
