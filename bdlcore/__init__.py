"""bdlcore: Bayesian deep learning in which everything is a stack of weights.

>>> import torch
>>> import bdlcore as bdl
>>> x, y = bdl.data.two_clusters(20, noise_std=0.1)
>>> x_test = torch.linspace(-1, 1, 5)[:, None]
>>> model = bdl.Model(bdl.nets.mlp(1, 20, 1), prior=bdl.GaussianPrior(std=1.0), likelihood=bdl.Gaussian(0.1))
>>> posterior = bdl.hmc(model, x, y, chains=4, draws=20, warmup=20, leapfrog_steps=10, seed=0)
>>> predictive = bdl.predict(model, posterior, x_test)
>>> predictive.mean.shape, predictive.epistemic_std.shape
(torch.Size([5, 1]), torch.Size([5, 1]))

*Sources* make stacks: `Model.sample_prior`, `hmc`, `sgld`, `sghmc`, `mean_field_vi`, `swag`, `ensemble`. *Users* take
them: `Model.functions`, `predict`, `health`, plots. README.md beside this file is a map of the rooms.

Axes everywhere: S settings of the weights (samples, chains, members), N data, C outputs; functions are (S, N, C).
Noise and prior scales are standard deviations. Randomness is an explicit seed or `torch.Generator`.
"""

from importlib import import_module

from . import data, dynamics, nets
from .curvature.spectra import (
    curvature_eigenvalues,
    curvature_matrix,
    curvature_product,
    effective_dimension,
    estimate_effective_dimension,
    lanczos,
)
from .data import corruptions
from .data.photos import load_image, photo
from .evaluation import prior_functions
from .evaluation.abstention import RiskCoverage, risk_coverage
from .evaluation.complexity import pac_bayes_scale, path_norm
from .evaluation.compression import Compressed, code_length, compress, occam_bound
from .evaluation.distances import agreement, total_variation, wasserstein
from .evaluation.diversity import disagreement, error_products
from .evaluation.familiarity import feature_distance
from .evaluation.health import Health, health
from .evaluation.landscapes import low_loss_path, plane_through, segment
from .evaluation.prior_functions import Collapse, collapse, prior_correlation
from .evaluation.recalibration import conformal_interval, conformal_sets, temperature_scaling
from .evaluation.scores import auroc, brier, crps_of_draws
from .exact.convolutional_kernel import ConvolutionalKernel
from .exact.gaussian_processes import GaussianProcess, KernelSpectrum, gaussian_process, sample_gp_prior
from .exact.kernels import RBF, LinearKernel, NetworkKernel, monte_carlo_kernel
from .exact.linear_regression import LinearPosterior, linear_regression
from .inference.annealing import AnnealedMass, annealed_mass
from .inference.approximations import MeanField, SwagState
from .inference.convergence import ess, rhat, tail_ess
from .inference.distributed import distributed
from .inference.ensemble import ensemble
from .inference.hmc import hmc, sample_hmc
from .inference.laplace import LaplacePosterior, laplace
from .inference.mean_field_vi import mean_field_vi
from .inference.posterior import AnyPosterior, Posterior
from .inference.sgmcmc import sghmc, sgld
from .inference.swag import SwagMoments, swag
from .inference.temperature_sweep import TemperatureSweep, best_temperature, temperature_sweep
from .likelihoods.bernoulli import Bernoulli
from .likelihoods.categorical import Categorical
from .likelihoods.consensus import Consensus
from .likelihoods.gaussian import Gaussian
from .likelihoods.noise import LearnedNoise, NoiseHead
from .likelihoods.poisson import Poisson
from .likelihoods.protocol import Likelihood
from .likelihoods.student_t import StudentT
from .models.log_posterior import LogPosterior
from .models.marginalise import predict
from .models.model import Model
from .models.priors import GaussianPrior, LaplacePrior, StudentTPrior
from .models.stack import Layout, Stack, concatenate
from .nets.view_average import ViewAverage, rotations
from .notebook.course import Setup, setup
from .predictions.categorical import CategoricalPredictive
from .predictions.counts import CountPredictive
from .predictions.gaussian import GaussianPredictive
from .predictions.linearised import LinearisedPredictive
from .predictions.normal import NormalPredictive
from .predictions.streamed import StreamedPredictive
from .predictions.student_t import StudentTPredictive
from .restoration.deep_image_prior import deep_image_prior
from .restoration.downsample import Downsample
from .restoration.quality import psnr, ssim
from .restoration.restoration import Restoration

__all__ = [
    "AnnealedMass",
    "AnyPosterior",
    "Bernoulli",
    "Categorical",
    "CategoricalPredictive",
    "Collapse",
    "Compressed",
    "Consensus",
    "ConvolutionalKernel",
    "CountPredictive",
    "Downsample",
    "Gaussian",
    "GaussianPredictive",
    "GaussianPrior",
    "GaussianProcess",
    "Health",
    "KernelSpectrum",
    "LaplacePosterior",
    "LaplacePrior",
    "Layout",
    "LearnedNoise",
    "Likelihood",
    "LinearKernel",
    "LinearPosterior",
    "LinearisedPredictive",
    "LogPosterior",
    "MeanField",
    "Model",
    "NetworkKernel",
    "NoiseHead",
    "NormalPredictive",
    "Poisson",
    "Posterior",
    "RBF",
    "Restoration",
    "RiskCoverage",
    "Setup",
    "Stack",
    "StreamedPredictive",
    "StudentT",
    "StudentTPredictive",
    "StudentTPrior",
    "SwagMoments",
    "SwagState",
    "TemperatureSweep",
    "ViewAverage",
    "agreement",
    "annealed_mass",
    "answer",
    "auroc",
    "best_temperature",
    "brier",
    "claim",
    "code_length",
    "collapse",
    "compress",
    "concatenate",
    "conformal_interval",
    "conformal_sets",
    "corruptions",
    "crps_of_draws",
    "curvature_eigenvalues",
    "curvature_matrix",
    "curvature_product",
    "data",
    "deep_image_prior",
    "demo",
    "disagreement",
    "distributed",
    "dynamics",
    "effective_dimension",
    "ensemble",
    "error_products",
    "ess",
    "estimate_effective_dimension",
    "feature_distance",
    "gaussian_process",
    "guess",
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
    "occam_bound",
    "pac_bayes_scale",
    "path_norm",
    "photo",
    "plane_through",
    "plots",
    "predict",
    "prior_correlation",
    "prior_functions",
    "psnr",
    "rhat",
    "risk_coverage",
    "rotations",
    "sample_gp_prior",
    "sample_hmc",
    "segment",
    "setup",
    "sghmc",
    "sgld",
    "ssim",
    "swag",
    "tally",
    "tail_ess",
    "temperature_scaling",
    "temperature_sweep",
    "total_variation",
    "wasserstein",
]

# loaded on first use: matplotlib and ipywidgets take as long to import as everything else
_LAZY = {
    "plots": ("notebook.plots", None),
    "demo": ("notebook.demo", "demo"),
    "claim": ("notebook.claims", "claim"),
    "guess": ("notebook.guesses", "guess"),
    "answer": ("notebook.guesses", "answer"),
    "tally": ("notebook.guesses", "tally"),
    "inpainting_studio": ("notebook.inpainting_studio", "inpainting_studio"),
}


def __getattr__(name: str):
    if name not in _LAZY:
        raise AttributeError(f"module 'bdlcore' has no attribute {name!r}")
    module, attribute = _LAZY[name]
    loaded = import_module(f".{module}", __name__)
    value = getattr(loaded, attribute) if attribute else loaded
    globals()[name] = value
    return value
