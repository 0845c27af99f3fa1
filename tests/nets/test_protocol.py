"""Any module as a network: what torch.func can map works, the rest is refused by name, constants stay what they are."""

import pytest
import torch
from torch import nn

import bdlcore as bdl

X = torch.randn(6, 5, 1, generator=torch.Generator().manual_seed(0))


class Recurrent(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.over_time, self.out = kind(1, 3, batch_first=True), nn.Linear(3, 1)

    def forward(self, x):
        return self.out(self.over_time(x)[0][:, -1])


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.lift, self.out = nn.Linear(1, 4), nn.Linear(4, 1)
        self.layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True, dropout=0.0)

    def forward(self, x):
        return self.out(self.layer(self.lift(x)).mean(1))


class Words(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.out = nn.Embedding(7, 3), nn.Linear(3, 1)

    def forward(self, x):
        return self.out(self.table(x).mean(1))


def model_of(network):
    return bdl.Model(network, bdl.GaussianPrior(1.0), bdl.Gaussian(0.5))


NETWORKS = {
    "GRU": lambda: Recurrent(nn.GRU),
    "LSTM": lambda: Recurrent(nn.LSTM),
    "RNN": lambda: Recurrent(nn.RNN),
    "transformer": Attention,
    "transformer, eval": lambda: Attention().eval(),
    "batch norm, eval": lambda: nn.Sequential(
        nn.Flatten(), nn.Linear(5, 3), nn.BatchNorm1d(3), nn.Linear(3, 1)
    ).eval(),
    "dropout, eval": lambda: nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(5, 1)).eval(),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_modules_are_evaluated_and_differentiated_as_they_are(name):
    network = NETWORKS[name]()
    model = model_of(network)
    stack = model.sample_prior(3, seed=0)
    f = model.functions(stack, X)
    for state, row in zip(stack.state_dicts(), f, strict=True):
        network.load_state_dict(state)
        torch.testing.assert_close(network(X), row)
    y = torch.zeros(6)
    value, gradient = bdl.LogPosterior(model, X, y)(stack.theta)
    theta = stack.theta.clone().requires_grad_()
    joint = model.log_joint(theta, X, y)
    torch.testing.assert_close(value, joint.detach())
    torch.testing.assert_close(gradient, torch.autograd.grad(joint.sum(), theta)[0], rtol=1e-4, atol=1e-4)


def test_attention_has_curvature():
    model = model_of(Attention())
    stack = model.sample_prior(2, seed=0)
    product = bdl.curvature_product(model, stack, X, torch.zeros(6))
    assert torch.isfinite(product(torch.ones_like(stack.theta))).all()


def test_tokens_are_inputs_of_a_network_that_takes_them():
    x = torch.randint(0, 7, (6, 4), generator=torch.Generator().manual_seed(0))
    model = model_of(Words())
    posterior = bdl.ensemble(model, x, torch.zeros(6), members=2, steps=3)
    assert bdl.predict(model, posterior, x).mean.shape == (6, 1)
    with pytest.raises(TypeError, match="floating-point dtype"):
        model_of(bdl.nets.mlp(4, 1)).check_data(x, torch.zeros(6))


class Wrong(nn.Linear):
    def __init__(self, output):
        super().__init__(1, 1)
        self.output = output

    def forward(self, x):
        return self.output(super().forward(x))


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (lambda: nn.Sequential(nn.Linear(1, 2), nn.BatchNorm1d(2)), r"BatchNorm \(1\).*network.eval\(\)"),
        (lambda: nn.Sequential(nn.Linear(1, 2), nn.Dropout(0.1)), r"dropout \(1\).*network.eval\(\)"),
        (lambda: nn.LazyLinear(1), "LazyLinear .* has no weights yet: call network"),
        (
            lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(1, 1)),
            r"_SpectralNorm .*network.eval\(\)",
        ),
        (lambda: nn.LSTM(1, 3, 2, dropout=0.5), "LSTM .* drops units at random"),
        (lambda: Wrong(lambda f: (f, f)), r"one tensor of shape \(N, C\).*got tuple"),
        (lambda: Wrong(lambda f: f[:, 0]), r"one tensor of shape \(N, C\).*got shape"),
        (lambda: Wrong(nn.functional.dropout), "draws random numbers in its forward pass"),
    ],
)
def test_what_is_no_function_of_weights_and_inputs_is_refused(network, message):
    with pytest.raises(ValueError, match=message):
        model_of(network()).check_data(torch.zeros(3, 1), torch.zeros(3))


@pytest.mark.filterwarnings("ignore:The weights are not at a mode")
@pytest.mark.parametrize(
    "make",
    [lambda: bdl.nets.mlp(2, 4, 1), lambda: nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1))],
)
def test_frozen_parameters_are_constants(make):
    network = make()
    first = next(network.parameters())
    first.requires_grad_(False)
    model = model_of(network)
    assert model.layout.dim == 9 and len(model.layout.constants) == 1
    x, y = torch.randn(8, 2, dtype=torch.float64), torch.zeros(8, dtype=torch.float64)
    before = first.clone()
    posterior = bdl.hmc(model, x, y, chains=2, draws=4, warmup=0, leapfrog_steps=3, step_size=1e-3)
    laplace = bdl.laplace(model, x, y, modes=posterior.stack[:1].to(torch.float64), structure="full")
    assert torch.equal(first, before) and torch.isfinite(laplace.predict(x).mean).all()
    state = posterior.stack.state_dicts()[-1]
    network.load_state_dict(state)
    torch.testing.assert_close(network.double()(x), model.functions(posterior.stack[-1], x)[0])


@pytest.mark.filterwarnings("ignore:The weights are not at a mode")
def test_buffers_follow_the_inputs():
    class Scaled(nn.Linear):
        def __init__(self):
            super().__init__(1, 1)
            self.register_buffer("factor", torch.tensor(2.0))

        def forward(self, x):
            return self.factor * super().forward(x)

    model, x = model_of(Scaled()), torch.randn(4, 1, dtype=torch.float64)
    f = model.functions(model.sample_prior(2, seed=0, dtype=torch.float64), x)
    assert f.dtype == torch.float64
    assert torch.isfinite(bdl.laplace(model, x, x[:, 0], steps=5).predict(x).mean).all()
    stack = bdl.Stack.from_state_dicts([model.network.state_dict()], model.layout)
    torch.testing.assert_close(stack.weights[0], torch.cat([p.flatten() for p in model.network.parameters()]))
    with pytest.raises(ValueError, match="another factor than the model's network"):
        bdl.Stack.from_state_dicts([model.network.state_dict() | {"factor": torch.tensor(3.0)}], model.layout)


@pytest.mark.filterwarnings("ignore:The weights are not at a mode")
def test_grad_modes_of_the_caller_leave_no_trace():
    model, x = model_of(bdl.nets.mlp(1, 11, 1)), torch.zeros(3, 1)
    with torch.inference_mode():
        bdl.predict(model, model.sample_prior(2, seed=0), x)
    theta = model.sample_prior(2, seed=0).theta.requires_grad_()
    model.log_joint(theta, x, torch.zeros(3)).sum().backward()
    plain = model_of(nn.Sequential(nn.Linear(1, 3), nn.Tanh(), nn.Linear(3, 1)))
    with torch.no_grad():
        bdl.laplace(plain, x, torch.zeros(3), steps=3, refine_steps=0)
