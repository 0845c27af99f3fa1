"""Second derivatives of the loss at the rows of a stack, without or with ever forming the matrix.

In whitened weights theta the loss is L = - log p(D | theta), and

    H = d^2 L / d theta^2                              its Hessian
    G = sum_n J_n^T Lambda_n J_n                       the generalised Gauss-Newton matrix, H of the linearised network

with J_n (C, D) the Jacobian of the outputs and Lambda_n = - d^2 log p(y_n | f_n) / d f_n^2. G has no negative
eigenvalues. The prior adds I to either. A product with a vector costs two passes more than a gradient (Pearlmutter
1994; Schraudolph 2002), for all rows at once.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .._support import validate
from .._support.randomness import RowRandom
from ..models.model import Model
from ..models.stack import Stack, check_stack

KINDS = ("hessian", "ggn")
Product = Callable[[Tensor], Tensor]  # v (S, D) -> (S, D)


def curvature_product(model: Model, stack: Stack, x: Tensor, y: Tensor, kind: str = "hessian") -> Product:
    """The map v (S, D) -> H_s v_s (S, D), or G_s v_s, one vector per row of the stack.

    Args:
        model: the model.
        stack: S weight settings.
        x, y: the data that the loss sums over.
        kind: "hessian" or "ggn".
    """
    validate.choice("kind", kind, KINDS)
    check_stack(stack, model.layout, x)
    y = model.check_data(x, y)
    multiply = _hessian_product if kind == "hessian" else _ggn_product
    model, x = model.split(x)
    size, theta = model.chunk_size(x), stack.theta
    data = list(zip(x.split(model.data_per_pass(x)), y.split(model.data_per_pass(x)), strict=True))

    def product(v: Tensor) -> Tensor:
        if v.shape != theta.shape:
            raise ValueError(f"v must have shape {tuple(theta.shape)}, got {tuple(v.shape)}.")
        rows = zip(theta.split(size), v.split(size), strict=True)
        return torch.cat([sum(multiply(model, at, x, y, along) for x, y in data) for at, along in rows])

    return product


def curvature_matrix(model: Model, stack: Stack, x: Tensor, y: Tensor, kind: str = "hessian") -> Tensor:
    """H or G as dense matrices (S, D, D), by products with every unit vector: for D up to a few thousand."""
    check_stack(stack, model.layout, x)
    D = model.layout.dim
    stack.layout.must_fit(len(stack) * D, stack.theta, "rows of curvature matrices", "Use `lanczos`.")
    units = torch.eye(D, dtype=stack.theta.dtype, device=stack.theta.device)
    matrices = []
    for row in stack:
        copies = Stack(row.theta.expand(D, D), stack.layout)
        matrix = curvature_product(model, copies, x, y, kind)(units)
        matrices.append((matrix + matrix.mT) / 2)
    return torch.stack(matrices)


def lanczos(product: Product, start: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """Extreme eigenvalues and eigenvectors of S symmetric matrices, by products with them alone.

    Builds an orthonormal basis Q of span(v, A v, A^2 v, ...) per row, kept orthogonal by projecting twice, in which A
    is tridiagonal. Its eigenvalues (Ritz values) approach the ends of A's spectrum first; those in
    between are averages of A's. (Lanczos 1950; Golub and Van Loan, Matrix Computations, section 10.1.)

    Args:
        product: v (S, D) -> A v (S, D).
        start: (S, D) start vectors, none of them 0.
        steps: K <= D products.

    Returns:
        eigenvalues (S, K), largest first, and eigenvectors (S, K, D).
    """
    values, small, basis = _tridiagonalise(product, start, steps)
    return values.flip(1), (small.mT @ basis).flip(1)


def curvature_eigenvalues(
    model: Model,
    stack: Stack,
    x: Tensor,
    y: Tensor,
    kind: str = "hessian",
    steps: int | None = None,
    seed: int | torch.Generator = 0,
) -> Tensor:
    """Eigenvalues of H or G, largest first.

    Args:
        model, stack, x, y, kind: see `curvature_product`.
        steps: None for all D of them, from the dense matrix; else the K Ritz values of so many Lanczos steps.
        seed: of the start vectors.

    Returns:
        (S, D), or (S, K).
    """
    if steps is None:
        return torch.linalg.eigvalsh(curvature_matrix(model, stack, x, y, kind)).flip(1)
    theta = stack.theta
    start = RowRandom(seed, range(len(stack)), dtype=theta.dtype, device=theta.device).normal(theta.shape[1])
    return lanczos(curvature_product(model, stack, x, y, kind), start, steps)[0]


def effective_dimension(eigenvalues: Tensor, z: float | Tensor = 1.0) -> Tensor:
    """N_eff(H, z) = sum_i lambda_i / (lambda_i + z): how many directions the data have determined.

    With z the precision of the prior, which is 1 in whitened weights, each term is the share by which the data
    narrow the variance of that direction: 1 - (posterior variance) / (prior variance) of a Gaussian
    posterior. (MacKay 1992; Maddox et al. 2020, eq. 3.)

    Args:
        eigenvalues: (..., K). Negative ones, along which the point is no minimum, count as 0.
        z: > 0; tensors broadcast against the leading axes of the result.

    Returns:
        (...).
    """
    validate.positive("z", z, "It is the prior's precision: 1 in whitened weights.")
    if not torch.isfinite(eigenvalues).all():
        raise ValueError(
            "eigenvalues holds NaN or infinite values; look at the loss where they were computed."
        )
    positive = eigenvalues.clamp(min=0)
    z = torch.as_tensor(z, dtype=positive.dtype, device=positive.device)
    return (positive / (positive + z[..., None])).sum(-1)


def estimate_effective_dimension(
    model: Model,
    stack: Stack,
    x: Tensor,
    y: Tensor,
    z: float | Tensor = 1.0,
    *,
    kind: str = "ggn",
    steps: int = 20,
    probes: int = 4,
    seed: int | torch.Generator = 0,
) -> Tensor:
    """N_eff for networks whose spectrum is too long to compute, by stochastic Lanczos quadrature.

    N_eff = tr H (H + z I)^-1, and the trace of a function of H is D times its mean over random unit vectors v:

        v^T H (H + z I)^-1 v  ~=  sum_k tau_k^2 theta_k / (theta_k + z)

    with theta_k the Ritz values of K Lanczos steps from v and tau_k the first entries of their vectors. Unlike the sum
    over the K largest eigenvalues it counts all D. Its relative error is about (2 / (N_eff probes))^(1/2).
    (Ubaru, Chen and Saad 2017.)

    Args:
        model, stack, x, y, kind: see `curvature_product`.
        z: > 0, the prior's precision, or a tensor (Z,) of several.
        steps: K.
        probes: random vectors per row.
        seed: of the vectors.

    Returns:
        (S,), or (S, Z).
    """
    validate.positive("z", z, "It is the prior's precision: 1 in whitened weights.")
    check_stack(stack, model.layout, x)
    theta, S = stack.theta, len(stack)
    copies = Stack(theta.repeat_interleave(validate.count("probes", probes), 0), stack.layout)
    random = RowRandom(seed, range(S * probes), dtype=theta.dtype, device=theta.device)
    product = curvature_product(model, copies, x, y, kind)
    values, vectors, _ = _tridiagonalise(
        product, random.normal(theta.shape[1]), min(validate.count("steps", steps), theta.shape[1])
    )
    weights = vectors[:, 0].square()  # (S probes, K)
    z = torch.as_tensor(z, dtype=theta.dtype, device=theta.device)
    positive = values.clamp(min=0)
    shares = positive[..., None] / (positive[..., None] + z.reshape(-1))  # (S probes, K, Z)
    means = (weights[..., None] * shares).sum(1).unflatten(0, (S, probes)).mean(1)
    return theta.shape[1] * (means if z.ndim else means[:, 0])


def _tridiagonalise(product: Product, start: Tensor, steps: int) -> tuple[Tensor, Tensor, Tensor]:
    """Ritz values (S, K), ascending, their vectors (S, K, K) in the basis, one per column, and the basis (S, K, D)."""
    S, D = start.shape
    if validate.count("steps", steps) > D:
        raise ValueError(f"steps must be at most the number of weights, {D}; got {steps}.")
    norm = start.norm(dim=1, keepdim=True)
    if not (torch.isfinite(norm) & (norm > 0)).all():
        raise ValueError("Every start vector must be finite and not 0.")
    basis, random = (
        start.new_zeros(S, steps, D),
        RowRandom(0, range(S), dtype=start.dtype, device=start.device),
    )
    diagonal, beside = start.new_zeros(S, steps), start.new_zeros(S, steps)
    q = start / norm
    for k in range(steps):
        basis[:, k] = q
        Aq = product(q)
        if not torch.isfinite(Aq).all():
            raise ValueError(
                f"The product with the matrix is not finite in step {k}: is the loss finite here?"
            )
        diagonal[:, k] = (q * Aq).sum(1)
        if k + 1 < steps:
            q, beside[:, k] = _next_direction(Aq, basis[:, : k + 1], random)
    T = diagonal.diag_embed() + beside[:, :-1].diag_embed(1) + beside[:, :-1].diag_embed(-1)
    values, vectors = torch.linalg.eigh(T)
    return values, vectors, basis


def _hessian_product(model: Model, theta: Tensor, x: Tensor, y: Tensor, v: Tensor) -> Tensor:
    """Reverse mode twice: the gradient of (gradient . v)."""
    with torch.enable_grad():
        theta = theta.detach().requires_grad_()
        loss = -model.likelihood.log_prob(model.forward(theta, x), y).sum()
        (gradient,) = torch.autograd.grad(loss, theta, create_graph=True)
        return torch.autograd.grad((gradient * v).sum(), theta)[0]


def _ggn_product(model: Model, theta: Tensor, x: Tensor, y: Tensor, v: Tensor) -> Tensor:
    """J^T Lambda J v: J v as the derivative of u -> J^T u, which is linear, then Lambda, then J^T."""
    with torch.enable_grad():
        theta = theta.detach().requires_grad_()
        f = model.forward(theta, x)
        u = torch.zeros_like(f, requires_grad=True)
        # sums of products rather than grad_outputs, for which PyTorch would first import sympy
        (pulled,) = torch.autograd.grad((f * u).sum(), theta, create_graph=True)
        (Jv,) = torch.autograd.grad((pulled * v).sum(), u, retain_graph=True)
        outputs = f.detach().requires_grad_()
        loss = -model.likelihood.log_prob(outputs, y).sum()
        (slope,) = torch.autograd.grad(loss, outputs, create_graph=True)
        (curved,) = torch.autograd.grad((slope * Jv).sum(), outputs)
        return torch.autograd.grad((f * curved).sum(), theta)[0]


def _next_direction(Aq: Tensor, basis: Tensor, random: RowRandom) -> tuple[Tensor, Tensor]:
    """Aq less its part in the basis: its direction (S, D) and its length (S,).

    Where nothing is left the basis spans an invariant subspace: the length is 0, and a fresh direction goes on.
    """
    rest = _outside(Aq, basis)
    length = rest.norm(dim=1)
    spent = length <= 100 * torch.finfo(Aq.dtype).eps * Aq.norm(dim=1).clamp(min=torch.finfo(Aq.dtype).tiny)
    if spent.any():
        fresh = _outside(random.normal(Aq.shape[1]), basis)
        rest, length = torch.where(spent[:, None], fresh, rest), length.masked_fill(spent, 0)
    return rest / rest.norm(dim=1, keepdim=True), length


def _outside(v: Tensor, basis: Tensor) -> Tensor:
    for _ in range(2):
        v = v - (basis.mT @ (basis @ v[:, :, None]))[..., 0]
    return v
