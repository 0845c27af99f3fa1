"""bdlcore: Bayesian deep learning in which everything is a stack of weights.

    import bdlcore as bdl

    model = bdl.Model(bdl.nets.mlp(1, 50, 50, 1), prior=bdl.GaussianPrior(std=1.0),
    likelihood=bdl.Gaussian(noise_std=0.1)) posterior = bdl.hmc(model, x, y, chains=16, draws=200, seed=0)
    predictive = bdl.predict(model, posterior.stack, x_test)

*Sources* make stacks: `Model.sample_prior`, `hmc`, `sgld`, `sghmc`, `mean_field_vi`, `swag`, `ensemble`. *Users*
take them: `Model.functions`, `predict`, plots.

Axes everywhere: S settings of the weights (samples, chains, members), N data, C outputs; functions are (S, N,
C). Noise and prior scales are standard deviations. Randomness is an explicit seed or `torch.Generator`.
"""

from importlib import import_module

from . import corruptions, data, nets, prior_diagnostics
from .augmentation import ViewAverage, rotations
from .complexity import pac_bayes_scale, path_norm
from .convolutional_kernels import ConvolutionalKernel
from .course import Setup, setup
from .curation import Consensus
from .densities import LogPosterior
from .diagnostics import ess, rhat
from .distances import agreement, total_variation, wasserstein
from .diversity import disagreement, error_products
from .downsampling import Downsample
from .ensembles import ensemble
from .gaussian_processes import (
    GaussianProcess,
    GaussianProcessPredictive,
    KernelSpectrum,
    gaussian_process,
    sample_gp_prior,
)
from .hamiltonian import hmc, sample_hmc
from .health_report import Health, health
from .hessians import (
    curvature_eigenvalues,
    curvature_matrix,
    curvature_product,
    effective_dimension,
    estimate_effective_dimension,
    lanczos,
)
from .image_fits import deep_image_prior
from .image_priors import Collapse, collapse, prior_correlation
from .image_quality import psnr, ssim
from .kernels import RBF, Linear, NetworkKernel, monte_carlo_kernel
from .landscapes import low_loss_path, plane_through, segment
from .langevin import sghmc, sgld
from .laplace_approximation import LaplacePosterior, laplace
from .likelihoods import Categorical, Gaussian
from .linear import LinearPosterior, linear_regression
from .linearised import LinearisedPredictive
from .marginalisation import predict
from .models import Model
from .photos import load_image, photo
from .posteriors import Posterior
from .predictives import CategoricalPredictive, GaussianPredictive
from .priors import GaussianPrior
from .restorations import Restoration
from .stacks import Layout, Stack, concatenate
from .streaming import StreamedPredictive
from .sweeps import TemperatureSweep, best_temperature, temperature_sweep
from .variational import MeanField, mean_field_vi
from .weight_averaging import SwagMoments, SwagState, swag

__all__ = [
    "Categorical",
    "CategoricalPredictive",
    "Collapse",
    "Consensus",
    "ConvolutionalKernel",
    "Downsample",
    "Gaussian",
    "GaussianPredictive",
    "GaussianPrior",
    "GaussianProcess",
    "GaussianProcessPredictive",
    "Health",
    "KernelSpectrum",
    "LaplacePosterior",
    "Layout",
    "Linear",
    "LinearPosterior",
    "LinearisedPredictive",
    "LogPosterior",
    "MeanField",
    "Model",
    "NetworkKernel",
    "Posterior",
    "RBF",
    "Restoration",
    "Setup",
    "Stack",
    "StreamedPredictive",
    "SwagMoments",
    "SwagState",
    "TemperatureSweep",
    "ViewAverage",
    "agreement",
    "best_temperature",
    "claim",
    "collapse",
    "concatenate",
    "corruptions",
    "curvature_eigenvalues",
    "curvature_matrix",
    "curvature_product",
    "data",
    "deep_image_prior",
    "demo",
    "disagreement",
    "effective_dimension",
    "ensemble",
    "error_products",
    "ess",
    "estimate_effective_dimension",
    "gaussian_process",
    "health",
    "hmc",
    "inpainting_studio",
    "lanczos",
    "laplace",
    "linear_regression",
    "load_image",
    "low_loss_path",
    "mean_field_vi",
    "monte_carlo_kernel",
    "nets",
    "pac_bayes_scale",
    "path_norm",
    "photo",
    "plane_through",
    "plots",
    "predict",
    "prior_correlation",
    "prior_diagnostics",
    "psnr",
    "rhat",
    "rotations",
    "sample_gp_prior",
    "sample_hmc",
    "segment",
    "setup",
    "sghmc",
    "sgld",
    "ssim",
    "swag",
    "temperature_sweep",
    "total_variation",
    "wasserstein",
]

# loaded on first use: matplotlib and ipywidgets take as long to import as everything else
_LAZY = {
    "plots": ("plots", None),
    "demo": ("demo", "demo"),
    "claim": ("claims", "claim"),
    "inpainting_studio": ("studio", "inpainting_studio"),
}


def __getattr__(name: str):
    if name not in _LAZY:
        raise AttributeError(f"module 'bdlcore' has no attribute {name!r}")
    module, attribute = _LAZY[name]
    loaded = import_module(f".{module}", __name__)
    value = getattr(loaded, attribute) if attribute else loaded
    globals()[name] = value
    return value
