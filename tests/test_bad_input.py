"""Every public function, given each bad value that an argument of its admits, says so itself, early and by name.

`CALLS` has a good call of every public name that computes something; `KINDS` says what is bad for a kind of argument.
The error must be a TypeError or ValueError that bdlcore raises itself (not PyTorch, NumPy or LAPACK) and names the
argument.
"""

import math
import traceback
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import bdlcore as bdl

PACKAGE = str(Path(bdl.__file__).parent)
X = torch.linspace(-1, 1, 8)[:, None]
Y = X[:, 0].sin()
LABELS = torch.arange(8) % 2
MODEL = bdl.Model(bdl.nets.mlp(1, 4, 1), bdl.GaussianPrior(1.0), bdl.Gaussian(0.3))
CLASSES = bdl.Model(bdl.nets.mlp(1, 4, 2), bdl.GaussianPrior(1.0), bdl.Categorical())
STACK, OTHER = MODEL.sample_prior(3, seed=0), CLASSES.sample_prior(3, seed=0)
MODES = bdl.laplace(MODEL, X, Y, steps=100, lr=0.05).modes
LOGITS = torch.randn(4, 8, 3, generator=torch.Generator().manual_seed(0))
IMAGE = torch.rand(1, 16, 16, generator=torch.Generator().manual_seed(0))
NAN, INF = math.nan, math.inf

KINDS = {
    "inputs": [
        X.numpy(),
        X.tolist(),
        X * NAN,
        X / 0 * INF,
        X[:0],
        X[:, 0],
        X > 0,
        X.to(torch.complex64),
        None,
    ],
    "targets": [Y.numpy(), Y.tolist(), Y * NAN, Y[:-1], Y[:0], LABELS, torch.zeros(8, 3), None],
    "inputs_of_one": [Y.numpy(), Y.tolist(), Y * NAN, Y[:0], X, None],
    "columns": [Y.numpy(), Y.tolist(), Y * NAN, Y[:-1], Y[:0], LABELS, None],
    "labels": [
        LABELS.numpy(),
        LABELS.float(),
        LABELS - 1,
        LABELS + 1,
        LABELS[:-1],
        LABELS[:, None].expand(8, 2),
        None,
    ],
    "functions": [LOGITS.numpy(), LOGITS * NAN, LOGITS[:0], None],
    "positive": [0.0, -1.0, NAN, INF, "1", None],
    "count": [0, -1, 1.5, "3", True],
    "temperature": [0.0, -1.0, NAN, torch.tensor([1.0, -1.0]), torch.ones(5), "1"],
    "stack": [OTHER, STACK.theta, None],
    "seed": [-1, 1.5, "0"],
    "share": [0.0, 1.0, -1.0, NAN],
    "picture": [IMAGE.numpy(), IMAGE * NAN, IMAGE[0], (255 * IMAGE).byte(), 255 * IMAGE, None],
}
FIT = {"x": "inputs", "y": "targets", "seed": "seed"}
TEMPERED = {"temperature": "temperature", "likelihood_temperature": "temperature"}
BRIEF = {"initial_steps": 2}
DATA = {"model": MODEL, "x": X, "y": Y}


# name: (good keyword arguments, kinds of those that are tried with bad values)
CALLS = {
    "distributed": (
        DATA | {"method": bdl.ensemble, "members": 2, "steps": 3, "rows_per_part": 1},
        FIT | {"members": "count", "steps": "count", "rows_per_part": "count", "save_every": "count"},
    ),
    "hmc": (
        DATA | BRIEF | {"chains": 2, "draws": 4, "warmup": 10, "leapfrog_steps": 2},
        FIT
        | TEMPERED
        | {"chains": "count", "draws": "count", "leapfrog_steps": "count", "step_size": "positive"},
    ),
    "sgld": (
        DATA | BRIEF | {"chains": 2, "draws": 4, "warmup": 2, "thinning": 1, "step_size": 1e-3},
        FIT | TEMPERED | {"chains": "count", "draws": "count", "thinning": "count", "batch_size": "count"},
    ),
    "sghmc": (
        DATA | BRIEF | {"chains": 2, "draws": 4, "warmup": 2, "thinning": 1, "step_size": 1e-2},
        FIT | TEMPERED | {"chains": "count", "draws": "count", "thinning": "count", "batch_size": "count"},
    ),
    "mean_field_vi": (
        DATA | BRIEF | {"members": 2, "steps": 2, "draws": 2},
        FIT | TEMPERED | {"members": "count", "steps": "count", "samples": "count", "lr": "positive"},
    ),
    "swag": (
        DATA | BRIEF | {"members": 2, "snapshots": 3, "lr": 1e-3, "batch_size": 4},
        FIT
        | {
            "likelihood_temperature": "temperature",
            "members": "count",
            "rank": "count",
            "initial_lr": "positive",
        },
    ),
    "ensemble": (
        DATA | {"members": 2, "steps": 2},
        FIT
        | {"likelihood_temperature": "temperature", "members": "count", "steps": "count", "lr": "positive"},
    ),
    "laplace": (
        DATA | {"modes": 2, "steps": 2, "refine_steps": 1},
        FIT | TEMPERED | {"steps": "count", "lr": "positive", "memory_gb": "positive"},
    ),
    "temperature_sweep": (
        DATA
        | {"x_test": X, "temperatures": torch.ones(2), "kind": "cold", "chains": 2, "draws": 4, "warmup": 10},
        {"x": "inputs", "x_test": "inputs", "y": "targets", "draws": "count"},
    ),
    "predict": (
        {"model": MODEL, "posterior": STACK, "x": X},
        {"x": "inputs", "posterior": "stack", "chunk_size": "count"},
    ),
    "health": ({"model": MODEL, "posterior": STACK, "x": X}, {"x": "inputs", "posterior": "stack"}),
    "LogPosterior": (DATA, {"x": "inputs", "y": "targets", "temperature": "positive", "chunk_size": "count"}),
    "linear_regression": (
        {"features": X, "y": Y, "prior_std": 1.0, "noise_std": 0.3},
        {"features": "inputs", "y": "targets", "prior_std": "positive", "noise_std": "positive"},
    ),
    "gaussian_process": (
        {"kernel": bdl.RBF(0.5), "x": X, "y": Y, "noise_std": 0.3},
        {"y": "columns"},
    ),
    "curvature_product": (DATA | {"stack": STACK}, {"x": "inputs", "y": "targets", "stack": "stack"}),
    "curvature_matrix": (DATA | {"stack": STACK}, {"x": "inputs", "y": "targets", "stack": "stack"}),
    "annealed_mass": (
        DATA | {"stack": MODES, "particles": 2, "temperatures": 2, "leapfrog_steps": 1},
        FIT
        | {
            "stack": "stack",
            "particles": "count",
            "temperatures": "count",
            "leapfrog_steps": "count",
            "step_size": "positive",
        },
    ),
    "curvature_eigenvalues": (DATA | {"stack": STACK}, {"x": "inputs", "y": "targets", "stack": "stack"}),
    "estimate_effective_dimension": (
        DATA | {"stack": STACK},
        {"x": "inputs", "y": "targets", "z": "positive", "steps": "count", "probes": "count"},
    ),
    "effective_dimension": ({"eigenvalues": torch.ones(3)}, {"z": "positive"}),
    "pac_bayes_scale": (
        {"model": CLASSES, "stack": OTHER, "x": X, "y": LABELS, "draws": 2, "steps": 2},
        {"x": "inputs", "y": "labels", "accuracy_drop": "share", "draws": "count"},
    ),
    "compress": (
        {"model": CLASSES, "stack": OTHER, "start": OTHER, "x": X, "y": LABELS},
        {"x": "inputs", "y": "labels", "accuracy_drop": "share"},
    ),
    "occam_bound": ({"error": torch.ones(1), "nats": torch.ones(1), "count": 5}, {"count": "count"}),
    "low_loss_path": (
        DATA | {"stack": STACK[:2], "steps": 2},
        {"x": "inputs", "y": "targets", "points": "count"},
    ),
    "wasserstein": ({"f": LOGITS, "g": LOGITS}, {"f": "functions", "g": "functions"}),
    "disagreement": ({"f": LOGITS}, {"f": "functions"}),
    "error_products": ({"probabilities": LOGITS[..., :2].softmax(-1), "y": LABELS}, {"y": "labels"}),
    "collapse": ({"f": LOGITS}, {"f": "functions"}),
    "prior_correlation": ({"f": LOGITS}, {"f": "functions"}),
    "monte_carlo_kernel": (
        {"model": MODEL, "x": X, "samples": 3, "seed": 0},
        {"x": "inputs", "samples": "count"},
    ),
    "psnr": ({"image": IMAGE, "clean": IMAGE}, {}),
    "deep_image_prior": (
        {"observed": IMAGE, "steps": 2},
        {"observed": "picture", "steps": "count", "lr": "positive", "seed": "seed"},
    ),
    "LaplacePrior": ({"std": 1.0}, {"std": "positive"}),
    "StudentTPrior": ({"std": 1.0}, {"std": "positive", "dof": "positive"}),
    "GaussianPrior": ({"std": 1.0}, {"std": "positive"}),
    "Gaussian": ({"noise_std": 0.3}, {"noise_std": "positive"}),
    "LearnedNoise": ({"median": 0.3}, {"median": "positive", "factor": "positive"}),
    "NoiseHead": ({"median": 0.3}, {"median": "positive"}),
    "StudentT": ({"scale": 0.3}, {"scale": "positive", "dof": "positive"}),
    "conformal_interval": (
        {"predictive": bdl.predict(MODEL, STACK, X), "y": Y, "probability": 0.5},
        {"y": "targets", "probability": "share"},
    ),
    "conformal_sets": (
        {"predictive": bdl.predict(CLASSES, OTHER, X), "y": LABELS, "probability": 0.5},
        {"y": "labels", "probability": "share"},
    ),
    "temperature_scaling": (
        {
            "predictive": bdl.CategoricalPredictive(torch.tensor([[0.4, 0.6]]).expand(8, 2), torch.zeros(8)),
            "y": (torch.arange(8) > 2).long(),
        },
        {"y": "labels"},
    ),
    "crps_of_draws": ({"draws": LOGITS[..., :1], "y": Y}, {"draws": "functions", "y": "targets"}),
    "brier": ({"p": LOGITS[0, :, :2].softmax(-1), "y": LABELS}, {"y": "labels"}),
    "risk_coverage": ({"confidence": Y, "loss": Y}, {"confidence": "inputs_of_one", "loss": "inputs_of_one"}),
    "auroc": ({"inside": Y, "outside": Y}, {"inside": "inputs_of_one", "outside": "inputs_of_one"}),
    "feature_distance": ({"features": X, "known": X}, {"features": "inputs", "known": "inputs"}),
    "Consensus": ({"annotators": 3}, {"annotators": "count"}),
    "RBF": ({"length_scale": 1.0}, {"length_scale": "positive", "std": "positive"}),
    "LinearKernel": ({}, {"weight_std": "positive"}),
    "NetworkKernel": ({}, {"weight_std": "positive"}),
    "ConvolutionalKernel": ({}, {"layers": "count", "pool": "count", "weight_std": "positive"}),
    "Downsample": ({"factor": 2}, {"factor": "count"}),
    "SwagMoments": ({"rank": 3}, {"rank": "count"}),
    "segment": ({"stack": STACK[:2], "points": 3}, {"points": "count"}),
}
# what has no argument that could be bad in these ways, or is tried by tests of its own
ELSEWHERE = {
    "AnnealedMass", "AnyPosterior", "Bernoulli", "Categorical", "CategoricalPredictive", "Collapse",
    "Compressed",
    "CountPredictive", "GaussianPredictive", "GaussianProcess", "Health", "KernelSpectrum", "LaplacePosterior",
    "Layout", "Likelihood", "LinearPosterior", "LinearisedPredictive", "MeanField", "Model", "NormalPredictive",
    "Poisson", "Posterior", "Restoration", "RiskCoverage", "Setup", "Stack", "StreamedPredictive",
    "StudentTPredictive", "SwagState", "TemperatureSweep", "ViewAverage", "agreement", "answer", "best_temperature",
    "claim", "code_length", "concatenate", "corruptions", "data", "demo", "dynamics", "ess", "guess",
    "inpainting_studio", "lanczos", "load_image", "nets", "path_norm", "photo", "plane_through", "plots",
    "prior_functions", "rhat", "rotations", "sample_gp_prior", "sample_hmc", "setup", "ssim", "tail_ess", "tally",
    "total_variation",
}  # fmt: skip


def test_every_public_name_is_tried_or_said_to_be_tried_elsewhere():
    assert CALLS.keys() | ELSEWHERE == set(bdl.__all__)
    assert not CALLS.keys() & ELSEWHERE


def call(name, **changed):
    good, _ = CALLS[name]
    return getattr(bdl, name)(**good | changed)


def complaint(name, argument, value):
    """What is wrong with how a bad value is met; None where all is well."""
    try:
        call(name, **{argument: value})
    except (TypeError, ValueError) as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        if not frame.filename.startswith(PACKAGE):
            return f"{type(error).__name__} from {Path(frame.filename).name}: {error}"
        words = {argument, "stack"} if argument == "posterior" else {argument}
        return None if any(word in str(error) for word in words) else f"does not name {argument}: {error}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "was accepted"


CASES = [(name, argument, kind) for name, (_, kinds) in CALLS.items() for argument, kind in kinds.items()]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "argument", "kind"), CASES, ids=["-".join(case) for case in CASES])
def test_bad_values_are_named(name, argument, kind):
    bad = [
        value
        for value in KINDS[kind]
        if not (value is None and argument in ("step_size", "batch_size", "chunk_size"))
    ]
    found = {describe(value): complaint(name, argument, value) for value in bad}
    assert not {value: said for value, said in found.items() if said}


def describe(value):
    if isinstance(value, torch.Tensor):
        return f"{value.dtype} {tuple(value.shape)} {value.flatten()[:2].tolist()}"
    return f"{type(value).__name__} {str(value)[:20]}"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CALLS)
def test_the_good_calls_are_good(name):
    if name != "psnr":
        call(name)
    else:
        bdl.psnr(IMAGE, IMAGE * 0.9)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.floats(allow_nan=True, allow_infinity=True, width=32), min_size=1, max_size=6))
def test_any_list_of_numbers_as_noise_is_taken_or_refused_in_words(values):
    good = all(0 < value < INF for value in values)
    try:
        likelihood = bdl.Gaussian(np.array(values))
    except ValueError as error:
        assert not good and "noise_std must be positive" in str(error)
    else:
        assert good and likelihood.noise_std == tuple(values)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 4), min_size=0, max_size=4))
def test_any_shape_of_inputs_is_taken_or_refused_in_words(shape):
    x = torch.zeros(shape)
    try:
        f = MODEL.functions(STACK, x)
    except ValueError as error:
        assert str(error).startswith(("x must have shape", "x is empty", "This network takes 1 input"))
    else:
        assert math.prod(shape[1:]) == 1 and f.shape == (3, shape[0], 1)
