"""Path norm against all paths, and the noise that weights bear against its definition."""

import itertools

import pytest
import torch

import bdlcore as bdl


def relu(*sizes):
    return bdl.Model(
        bdl.nets.mlp(*sizes, activation="relu"), bdl.GaussianPrior(1.3, fan_in=True), bdl.Categorical()
    )


def test_path_norm_against_every_path():
    model = relu(2, 3, 4, 2)
    stack = model.sample_prior(3, seed=0, dtype=torch.float64)
    got, named = bdl.path_norm(model, stack), stack.named()
    layers = [(named[f"layers.{i}.weight"], named[f"layers.{i}.bias"]) for i in range(3)]
    for s in range(3):
        total = 0.0
        for first in range(3):  # the layer in which a path starts, at an input or at a bias
            widths = [range(len(layers[i][1][s])) for i in range(first, 3)]
            for units in itertools.product(*widths):
                rest = 1.0
                for i in range(first + 1, 3):
                    rest *= layers[i][0][s][units[i - first], units[i - first - 1]] ** 2
                starts = layers[first][1][s][units[0]] ** 2
                if first == 0:
                    starts = starts + (layers[0][0][s][units[0]] ** 2).sum()
                total += starts * rest
        assert got[s].item() == pytest.approx(total.sqrt().item())


@pytest.fixture
def rescaled():
    """A ReLU network, and the same function with units that are rescaled on their way in and back on their way out."""
    model = relu(2, 5, 3)
    state = model.sample_prior(1, seed=0, dtype=torch.float64).state_dicts()[0]
    units, classes = (torch.arange(k, dtype=torch.float64) * 2 * torch.pi / k for k in (5, 3))
    # classes by direction, all of them wherever the noise of the draw points; far above the floor of aware noise
    state["layers.0.weight"] = 30 * torch.stack([units.cos(), units.sin()], 1) + state["layers.0.weight"]
    state["layers.1.weight"] = 30 * (units - classes[:, None]).cos() + state["layers.1.weight"]
    c = torch.tensor([0.05, 0.1, 0.08, 0.1, 0.05], dtype=torch.float64)
    other = state | {
        "layers.0.weight": c[:, None] * state["layers.0.weight"],
        "layers.0.bias": c * state["layers.0.bias"],
        "layers.1.weight": state["layers.1.weight"] / c,
    }
    return model, bdl.Stack.from_state_dicts([state, other], model.layout)


def test_path_norm_ignores_rescaled_units(rescaled):
    model, both = rescaled
    x = torch.randn(4, 2, dtype=torch.float64)
    torch.testing.assert_close(*model.functions(both, x))
    torch.testing.assert_close(*bdl.path_norm(model, both))
    assert both.weights.norm(dim=1).diff().abs() > 1, "this test could not tell"


def test_only_magnitude_aware_noise_ignores_rescaled_units(rescaled):
    model, both = rescaled
    x = torch.randn(60, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y = model.functions(both, x)[0].argmax(-1)
    aware = bdl.pac_bayes_scale(model, both, x, y, magnitude_aware=True)
    assert aware[1].item() == pytest.approx(aware[0].item(), rel=0.02)
    plain = bdl.pac_bayes_scale(model, both, x, y)
    assert plain[1] < plain[0] / 2


def test_noise_that_weights_bear_against_the_closed_form():
    """One weight w on inputs +1 and -1: right as long as w + sigma z > 0."""
    model = bdl.Model(bdl.nets.mlp(1, 2), bdl.GaussianPrior(1.0), bdl.Categorical())
    rows = torch.tensor([[-1.0, 1.0, 0.0, 0.0], [-3.0, 3.0, 0.0, 0.0]], dtype=torch.float64)
    stack = bdl.Stack(rows, model.layout)
    x, y = torch.tensor([[1.0], [-1.0]], dtype=torch.float64).repeat(20, 1), torch.tensor([1, 0]).repeat(20)
    sigma = bdl.pac_bayes_scale(model, stack, x, y, accuracy_drop=0.1, draws=4000, seed=0)
    torch.testing.assert_close(sigma[1] / sigma[0], torch.tensor(3.0, dtype=torch.float64), rtol=1e-3, atol=0)
    # logits' difference is (2 w + root 2 sigma z) x + root 2 sigma z': wrong with probability 0.1
    want = 2 / (1.2815515655446004 * 2)
    assert sigma[0].item() == pytest.approx(want, rel=0.05)


def test_ends_of_the_search():
    model = bdl.Model(bdl.nets.mlp(1, 2), bdl.GaussianPrior(1.0), bdl.Categorical())
    x, y = torch.zeros(4, 1), torch.zeros(4, dtype=torch.long)
    flat = bdl.Stack(torch.tensor([[0.0, 0.0, 1e5, 0.0]]), model.layout)  # class 0, whatever the noise
    assert bdl.pac_bayes_scale(model, flat, x, y).item() == pytest.approx(100, rel=1e-3)


def test_bad_input_is_refused(model, regression):
    stack = model.sample_prior(2, seed=0, dtype=torch.float64)
    with pytest.raises(ValueError, match="activation='relu'"):
        bdl.path_norm(model, stack)
    with pytest.raises(TypeError, match="likelihood of classes"):
        bdl.pac_bayes_scale(model, stack, *regression)
    classifier = relu(1, 4, 2)
    rows = classifier.sample_prior(2, seed=0, dtype=torch.float64)
    with pytest.raises(ValueError, match="accuracy_drop must lie"):
        bdl.pac_bayes_scale(
            classifier, rows, regression[0], torch.zeros(12, dtype=torch.long), accuracy_drop=1
        )


def test_weights_that_are_nan_are_refused():
    model = relu(1, 2)
    stack = bdl.Stack(torch.full((1, 4), torch.nan), model.layout)
    with pytest.raises(ValueError, match="theta contains 4 NaN"):
        bdl.pac_bayes_scale(model, stack, torch.ones(3, 1), torch.zeros(3, dtype=torch.long))
