"""Training a stack whose rows have data sets of their own: many small experiments in one computation."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .._support import validate
from .._support.adam import Adam
from .._support.progress import progress
from .._support.randomness import generator
from ..models.model import Model
from ..models.stack import Stack


def train_each(
    model: Model,
    x: Tensor,
    y: Tensor,
    *,
    sizes: Tensor | None = None,
    steps: int = 300,
    lr: float | Tensor = 1e-2,
    batch_size: int = 50,
    seed: int = 0,
) -> tuple[Stack, Tensor]:
    """Row s maximises log p(y_s | x_s, w_s) on data set s alone, from a draw of the prior, by Adam.

    Every step takes `batch_size` of each row's data with replacement, and the learning rate falls to 0 as a cosine.
    Row s depends on its own data, its own start and `seed` alone.

    Args:
        model: network, prior, likelihood; the network evaluates a set of inputs per row, as `RollOut` does.
        x, y: (S, N, ...) inputs and (S, N, C) targets.
        sizes: (S,) how many of the first data of a row are used; all N when None.
        steps: Adam steps.
        lr: the first learning rate in whitened units, or (S,), one for each row.
        batch_size: data per row and step.
        seed: of the starts and of the order of the data.

    Returns:
        The stack, and the loss (steps, S): minus the log likelihood per datum on that step's batch, up to a constant.
        A step in which a row's gradient is not finite counts as one of gradient 0.
    """
    validate.numbers("x", x)
    validate.numbers("y", y)
    steps, batch_size = validate.count("steps", steps), validate.count("batch_size", batch_size)
    validate.positive("lr", lr)
    S = len(x)
    validate.per_row("lr", lr, S)
    if x.ndim < 3 or y.ndim != 3 or x.shape[:2] != y.shape[:2]:
        raise ValueError(
            f"x and y must have shapes (S, N, ...) and (S, N, C), a data set for each row; got {tuple(x.shape)} and "
            f"{tuple(y.shape)}."
        )
    model.check_inputs(x[0])
    N = x.shape[1]
    sizes = torch.full((S,), N) if sizes is None else torch.as_tensor(sizes)
    if sizes.shape != (S,) or sizes.min() < 1 or sizes.max() > N:
        raise ValueError(f"sizes must hold {S} whole numbers from 1 to {N}, got {sizes}.")
    theta = model.sample_prior(S, seed, dtype=x.dtype, device=x.device).theta
    rates = torch.as_tensor(lr, dtype=torch.float64, device="cpu").expand(S)
    groups = {rate.item(): (rates == rate).nonzero().flatten().to(x.device) for rate in rates.unique()}
    parts = [theta[rows] for rows in groups.values()]
    adams = [Adam(part) for part in parts]
    losses, order, every = [], generator(seed, 1), torch.arange(S, device=x.device)[:, None]
    for step in progress(steps, f"training {S} models"):
        chosen = (torch.rand(batch_size, generator=order) * sizes[:, None]).long().to(x.device)
        loss, gradient = _loss_and_gradient(model, theta, x[every, chosen], y[every, chosen])
        losses.append(loss)
        for (rate, rows), part, adam in zip(groups.items(), parts, adams, strict=True):
            adam.step(gradient[rows], rate * 0.5 * (1 + math.cos(math.pi * step / steps)))
            theta[rows] = part
    return Stack(theta, model.layout), torch.stack(losses)


def _loss_and_gradient(model: Model, theta: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Minus the log likelihood per datum (S,), and its gradient (S, D); 0 for rows where it is not finite."""
    theta = theta.detach().requires_grad_()
    loss = -model.likelihood.log_prob(model.forward(theta, x), y).mean(1)
    (gradient,) = torch.autograd.grad(loss.sum(), theta)
    whole = torch.isfinite(gradient).all(1, keepdim=True)
    return loss.detach(), torch.where(whole, gradient, 0.0)
