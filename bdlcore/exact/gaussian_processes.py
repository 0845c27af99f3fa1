"""Gaussian-process regression in closed form: posterior, predictive and evidence of functions with a given kernel.

    f ~ GP(0, k),  y = f(x) + noise_std * standard normal,  A = K + noise_std^2 I = L L^T

    posterior mean  k(x', x) A^-1 y        posterior covariance  k(x', x') - k(x', x) A^-1 k(x, x')
    log p(y)        = -1/2 y^T A^-1 y - sum_n log L_nn - N/2 log 2 pi

(Rasmussen & Williams 2006, algorithm 2.1.) Linear algebra is in float64, whatever the dtype of the data.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from .._support import files, validate
from .._support.devices import double
from .._support.randomness import generator
from ..predictions.normal import NormalPredictive

Kernel = Callable[[Tensor, Tensor], Tensor]
_LOG_2PI = math.log(2 * math.pi)


@dataclass(frozen=True, eq=False)
class GaussianProcess:
    """The posterior of a Gaussian process after N data; made by `gaussian_process`.

    Attributes:
        kernel: k.
        x: (N, ...) inputs.
        y: (N, C) targets, float64.
        noise_std: standard deviation of the noise.
        seconds: wall time that the fit took.
        root: (N, N) lower Cholesky factor L of A.
        whitened: (N, C) L^-1 y: standard normal numbers if y came from this model.
    """

    kernel: Kernel
    x: Tensor
    y: Tensor
    noise_std: float | Tensor
    root: Tensor
    whitened: Tensor
    seconds: float

    method = "Gaussian process"
    gradient_evaluations = 0

    @property
    def log_conditionals(self) -> Tensor:
        """log p(y_n | y_1 ... y_n-1), (N,): each datum predicted from those before it. Their sum is the evidence."""
        C = self.y.shape[1]
        return -0.5 * self.whitened.square().sum(1) - C * (self.root.diagonal().log() + 0.5 * _LOG_2PI)

    @property
    def log_evidence_per_output(self) -> Tensor:
        """log p(y[:, c]), (C,)."""
        constant = self.root.diagonal().log().sum() + 0.5 * _LOG_2PI * len(self.y)
        return -0.5 * self.whitened.square().sum(0) - constant

    @property
    def log_evidence(self) -> Tensor:
        """log p(y), the log marginal likelihood, summed over the data and the outputs (which share the kernel).

        Differentiable in `noise_std` and in what the kernel is made of, where those are tensors that need gradients.
        """
        return self.log_evidence_per_output.sum()

    def mean(self, x: Tensor) -> Tensor:
        """Posterior mean of f at x (M, ...), (M, C): much cheaper than `predict`, which also needs the variance."""
        weights = torch.linalg.solve_triangular(self.root.mT, self.whitened, upper=True)
        return matrix(self.kernel, x, self.x) @ weights

    def predict(self, x: Tensor) -> NormalPredictive:
        """The exact predictive at x (M, ...), input by input."""
        solved = self._solved(x)
        variance = (_diagonal(self.kernel, x) - solved.square().sum(0)).clamp(min=0)
        std = variance.sqrt()[:, None].expand(-1, self.y.shape[1])
        return NormalPredictive(solved.mT @ self.whitened, std, float(self.noise_std))

    def functions(self, x: Tensor, draws: int = 100, seed: int | torch.Generator = 0) -> Tensor:
        """Functions drawn from the posterior, jointly over x (M, ...): (draws, M, C), without noise."""
        solved, K = self._solved(x), _evaluated(self.kernel, x, x)
        covariance = double(K) - solved.mT @ solved
        rounding = _rounding(
            K, len(K) + len(self.x)
        )  # a small difference of large numbers keeps their rounding
        return solved.mT @ self.whitened + _draws(covariance, draws, self.y.shape[1], seed, rounding)

    def save(self, path: str | Path) -> None:
        """Write to a safetensors file, all but the kernel; nothing is left behind if writing fails."""
        tensors = {"x": self.x, "y": self.y, "root": self.root, "whitened": self.whitened}
        files.save(path, self.method, tensors, {"noise_std": float(self.noise_std), "seconds": self.seconds})

    @classmethod
    def load(cls, path: str | Path, kernel: Kernel) -> GaussianProcess:
        """Read what `save` wrote, for the kernel that it was made with. Raises FileNotFoundError or ValueError."""
        tensors, facts = files.load(path, cls.method)
        return cls(kernel=kernel, **tensors, **facts)

    def _solved(self, x: Tensor) -> Tensor:
        """L^-1 k(data, x), (N, M)."""
        return torch.linalg.solve_triangular(self.root, matrix(self.kernel, self.x, x), upper=False)


def gaussian_process(kernel: Kernel, x: Tensor, y: Tensor, *, noise_std: float | Tensor) -> GaussianProcess:
    """Exact Gaussian-process regression with a zero-mean prior and Gaussian noise.

    Args:
        kernel: k(a, b) -> (N, M) for inputs a (N, ...) and b (M, ...), as in `bdlcore.kernels`. For a matrix K that is
            already computed over all data, use row numbers as inputs: `kernel = lambda a, b: K[a][:, b]`.
        x: (N, ...) inputs, passed to the kernel as they are: give x.double() for a kernel matrix in float64.
        y: (N,) or (N, C) targets; C outputs have independent functions with the same kernel. The prior mean is zero,
            so centre them.
        noise_std: standard deviation of the noise; 0 for data without noise.

    Raises:
        ValueError: for shapes that do not match, NaN, a matrix that is not symmetric or not positive definite.
        TypeError: for what is no tensor, no number or no function.
    """
    started = time.perf_counter()
    validate.numbers("x", x, whole=True)
    y = double(_columns("y", y, len(x)))
    validate.scale(
        "noise_std", noise_std, zero=True, hint="It is a standard deviation, the same for all data."
    )
    K = matrix(kernel, x, x)
    _symmetric(K)
    noise_variance = torch.as_tensor(noise_std, dtype=torch.float64).to(K) ** 2
    A = K + noise_variance * torch.eye(len(K), dtype=K.dtype, device=K.device)
    root, failed = torch.linalg.cholesky_ex(A)
    if failed:
        lowest = torch.linalg.eigvalsh(A.detach())[0].item()
        raise ValueError(
            f"The kernel matrix plus noise is not positive definite (smallest eigenvalue {lowest:.3g}, "
            f"noise_std {float(noise_std):.3g}). Add noise_std or jitter, remove duplicate inputs, compute the kernel "
            "in float64 (x.double()), or check that the kernel is one."
        )
    whitened = torch.linalg.solve_triangular(root, y, upper=False)
    return GaussianProcess(kernel, x, y, noise_std, root, whitened, time.perf_counter() - started)


def sample_gp_prior(
    kernel: Kernel, x: Tensor, draws: int = 100, *, outputs: int = 1, seed: int | torch.Generator = 0
) -> Tensor:
    """Functions drawn from the prior, jointly over x (N, ...): (draws, N, outputs), without noise."""
    K = _evaluated(kernel, x, x)
    _symmetric(K)
    return _draws(double(K), draws, outputs, seed, _rounding(K, len(K)))


@dataclass(frozen=True, eq=False)
class KernelSpectrum:
    """K = U diag(values) U^T, decomposed once for the evidence of any scale, noise and targets.

        log p(y) = -1/2 sum_i [ (U^T y)_i^2 / e_i + log e_i + log 2 pi ],   e = std^2 values + noise_std^2

    Attributes:
        values: (N,) eigenvalues, ascending.
        vectors: (N, N) eigenvectors in columns.
    """

    values: Tensor
    vectors: Tensor

    @classmethod
    def of(cls, kernel: Kernel, x: Tensor) -> KernelSpectrum:
        """Of the kernel matrix of inputs x (N, ...)."""
        K = _evaluated(kernel, x, x)
        _symmetric(K)
        values, vectors = torch.linalg.eigh(double(K))
        _semidefinite(values, _rounding(K, len(K)))
        return cls(values.clamp(min=0), vectors)

    def log_evidence_per_output(
        self, y: Tensor, *, noise_std: float | Tensor, std: float | Tensor = 1.0
    ) -> Tensor:
        """log p(y[:, c]), shape (..., C), of the kernel std^2 k with noise; std and noise_std broadcast to (...).

        Many data sets with the same inputs go in one call, as columns of y (N, C). Differentiable in both scales.
        """
        y = _columns("y", y, len(self.values)).to(self.vectors)
        noise_std, std = _scales("noise_std", noise_std, self.values), _scales("std", std, self.values)
        if (noise_std < 0).any() or (std <= 0).any():
            raise ValueError(
                f"std must be positive and noise_std at least 0, got {std.min():.3g} and {noise_std.min():.3g}. "
                "They are standard deviations, not variances."
            )
        e = std[..., None].square() * self.values + noise_std[..., None].square()
        if (e <= 0).any():
            raise ValueError("The kernel matrix is singular; its evidence needs noise_std > 0.")
        log_det = e.log().sum(-1, keepdim=True)
        return -0.5 * ((1 / e) @ (self.vectors.mT @ y).square() + log_det + len(y) * _LOG_2PI)

    def log_evidence(self, y: Tensor, *, noise_std: float | Tensor, std: float | Tensor = 1.0) -> Tensor:
        """The same summed over outputs, (...): `std[:, None], noise_std[None]` gives a grid."""
        return self.log_evidence_per_output(y, noise_std=noise_std, std=std).sum(-1)


def matrix(kernel: Kernel, a: Tensor, b: Tensor) -> Tensor:
    """kernel(a, b) in float64, after checking that it is a finite (N, M) matrix."""
    return double(_evaluated(kernel, a, b))


def _evaluated(kernel: Kernel, a: Tensor, b: Tensor) -> Tensor:
    """kernel(a, b) in the dtype that it was computed in, checked."""
    for inputs in (a, b):  # both are called x where the user gave them; row numbers of a matrix are whole
        validate.numbers("x", inputs, whole=True)
    if not callable(kernel):
        raise TypeError(
            f"kernel must be a function of two inputs, as bdl.RBF() is; got {type(kernel).__name__}."
        )
    K = kernel(a, b)
    if not isinstance(K, Tensor) or K.shape != (len(a), len(b)):
        got = tuple(K.shape) if isinstance(K, Tensor) else type(K).__name__
        raise ValueError(
            f"The kernel must give a tensor ({len(a)}, {len(b)}) for {len(a)} and {len(b)} inputs, got {got}."
        )
    if bad := int((~torch.isfinite(K)).sum()):
        raise ValueError(
            f"The kernel matrix contains {bad} NaN or infinite value(s), though x is finite: it leaves the range of "
            f"{K.dtype}. Standardise x, make the kernel's parameters smaller, or compute it in float64 (x.double())."
        )
    return K


def _rounding(K: Tensor, size: int) -> float:
    """How far below zero rounding can move the eigenvalues of what `size` rows of kernel matrices like K make."""
    if not K.is_floating_point():
        return 0.0
    return size * torch.finfo(K.dtype).eps * K.abs().max().item()


def _diagonal(kernel: Kernel, x: Tensor, size: int = 256) -> Tensor:
    """k(x_m, x_m), (M,)."""
    return torch.cat([matrix(kernel, part, part).diagonal() for part in x.split(size)])


def _draws(
    covariance: Tensor, draws: int, outputs: int, seed: int | torch.Generator, rounding: float
) -> Tensor:
    """Draws (draws, N, outputs) of N(0, covariance), which may be singular up to rounding."""
    size = (validate.count("draws", draws), len(covariance), validate.count("outputs", outputs))
    values, vectors = torch.linalg.eigh(covariance)
    _semidefinite(values, rounding)
    z = torch.randn(size, generator=generator(seed), dtype=covariance.dtype).to(covariance.device)
    return (vectors * values.clamp(min=0).sqrt()) @ z


def _semidefinite(values: Tensor, rounding: float) -> None:
    if values[0] < -max(1e-6 * values.abs().max().item(), rounding):
        raise ValueError(
            f"The kernel matrix is not positive semi-definite: its eigenvalues go from {values[0]:.3g} to "
            f"{values[-1]:.3g}. Check that the kernel is one; if it is, compute it in float64 (x.double())."
        )


def _symmetric(K: Tensor) -> None:
    if (K - K.mT).abs().max() > 1e-5 * K.abs().max():
        raise ValueError("The kernel matrix is not symmetric; k(a, b) must equal k(b, a).")


def _scales(name: str, value: float | Tensor, like: Tensor) -> Tensor:
    """One or more finite numbers as a tensor."""
    try:
        value = torch.as_tensor(value, dtype=like.dtype, device=like.device)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"{name} must be a number or a tensor of numbers, got {value!r}.") from error
    validate.finite(name, value)
    return value


def _columns(name: str, y: Tensor, rows: int) -> Tensor:
    if not isinstance(y, Tensor) or not y.is_floating_point():
        kind = y.dtype if isinstance(y, Tensor) else type(y).__name__
        raise TypeError(
            f"{name} must be a floating-point tensor, got {kind}. For classes use numbers such as -1 and 1."
        )
    if y.ndim not in (1, 2) or len(y) != rows:
        raise ValueError(f"{name} must have shape ({rows},) or ({rows}, C), got {tuple(y.shape)}.")
    validate.finite(name, y)
    return y if y.ndim == 2 else y[:, None]
