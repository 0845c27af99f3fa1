"""Metrics of float32 values need no float64, which some devices lack."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import bdlcore as bdl


class NoDouble(TorchDispatchMode):
    """Refuses every operation that makes float64."""

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        result = operation(*args, **(kwargs or {}))
        made = [value.dtype for value in tree_leaves(result) if isinstance(value, torch.Tensor)]
        assert torch.float64 not in made, f"{operation} made float64"
        return result


def test_no_metric_of_float32_makes_float64():
    p = torch.randn(4, 20, 3).softmax(-1)
    y = p[0].argmax(-1)
    model = bdl.Model(bdl.nets.mlp(3, 3), bdl.GaussianPrior(1.0), bdl.Categorical())
    stack, x = model.sample_prior(2, seed=0), torch.randn(20, 3)
    predictive = bdl.CategoricalPredictive(p[0], torch.zeros(20))
    chains = torch.randn(4, 40, 2)
    with NoDouble():
        predictive.accuracy(y), predictive.calibration_error(y), predictive.log_prob(y)
        bdl.agreement(p[0], p[1]), bdl.total_variation(p[0], p[1]), bdl.wasserstein(p[:2], p[1:])
        bdl.disagreement(p), bdl.error_products(p, y)
        bdl.pac_bayes_scale(model, stack, x, y, draws=3, steps=3)
        bdl.rhat(chains), bdl.ess(chains)
