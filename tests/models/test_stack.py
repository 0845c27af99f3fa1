"""Stacks and layouts against the modules that they hold the weights of, and against files."""

import numpy as np
import pytest
import torch

import bdlcore as bdl


def test_weights_are_theta_times_prior_std(model):
    stack = model.sample_prior(3, seed=0)
    named = stack.named()
    first = stack.theta[:, :10].reshape(3, 10, 1) * 0.7  # fan-in of the first layer is 1
    torch.testing.assert_close(named["layers.0.weight"], first)
    at = 10 + 10
    second = stack.theta[:, at : at + 20].reshape(3, 2, 10) * 0.7 / 10**0.5
    torch.testing.assert_close(named["layers.1.weight"], second)


def test_state_dicts_round_trip_and_drive_the_module(model):
    stack = model.sample_prior(4, seed=0, dtype=torch.float64)
    states = stack.state_dicts()
    back = bdl.Stack.from_state_dicts(states, model.layout)
    torch.testing.assert_close(back.theta, stack.theta)
    network = bdl.nets.mlp(1, 10, 2).double()
    network.load_state_dict(states[2])
    x = torch.randn(5, 1, dtype=torch.float64)
    torch.testing.assert_close(network(x), model.functions(stack, x)[2])
    with pytest.raises(ValueError, match=r"does not fit the network.*layers.0.weight"):
        bdl.Stack.from_state_dicts([{**states[0], "layers.0.weight": torch.zeros(9, 1)}], model.layout)
    with pytest.raises(ValueError, match="at least one"):
        bdl.Stack.from_state_dicts([], model.layout)


def test_save_and_load(model, tmp_path):
    stack = model.sample_prior(4, seed=0)
    stack.save(tmp_path / "stack.safetensors")
    assert [p.name for p in tmp_path.iterdir()] == ["stack.safetensors"]
    back = bdl.Stack.load(tmp_path / "stack.safetensors")
    assert back.layout == stack.layout
    torch.testing.assert_close(back.theta, stack.theta, rtol=0, atol=0)
    with pytest.raises(FileNotFoundError, match="There is no file"):
        bdl.Stack.load(tmp_path / "missing")


def test_indexing_and_concatenation(model):
    stack = model.sample_prior(5, seed=0)
    assert len(stack[1:3]) == 2 and len(stack[-1]) == 1 and len(list(stack)) == 5
    torch.testing.assert_close(bdl.concatenate([stack[:2], stack[2:]]).theta, stack.theta)
    with pytest.raises(IndexError, match="row 5 of a stack of 5"):
        stack[5]
    other = bdl.Model(bdl.nets.mlp(1, 10, 2), bdl.GaussianPrior(9.0), bdl.Gaussian(1.0)).sample_prior(
        2, seed=0
    )
    with pytest.raises(ValueError, match="different networks or priors"):
        bdl.concatenate([stack, other])
    with pytest.raises(ValueError, match="must have shape"):
        bdl.Stack(torch.zeros(2, 3), model.layout)


def test_rows_are_chosen_by_any_whole_number(model):
    stack = model.sample_prior(4, seed=0)
    torch.testing.assert_close(stack[np.int64(1)].theta, stack[1].theta)
    torch.testing.assert_close(stack[np.array([0, 2])].theta, stack[[0, 2]].theta)
