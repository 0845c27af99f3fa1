"""The one thing a sampler sees of a model: theta (S, D) -> log density (S,) and its gradient (S, D)."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from .._support import validate
from .model import Model
from .stack import float_like

Temperature = float | Tensor


class LogPosterior:
    """Unnormalised log posterior of whitened weights, with its temperature.

        log p(theta | D)  =  [ log p(D | theta) / T_lik  +  log p(theta) ] / T   + constant

    This is the only place where temperature enters. `temperature` T makes the *cold* posterior (T < 1) of
    Wenzel et al. (2020), which sharpens likelihood and prior alike; `likelihood_temperature` T_lik *tempers*
    the likelihood alone. T = T_lik = 1 is Bayes. Each may be a number or a tensor of shape (S,), one
    temperature per row.

    Args:
        model: the model. Of a partly constant one its head is kept, and the features of x.
        x, y: all the data, or a minibatch of it if `scale` is used.
        temperature: T > 0.
        likelihood_temperature: T_lik > 0.
        chunk_size: rows per forward and backward pass; chosen when None.

    Calling it with theta (S, D) returns the density (S,) and its gradient (S, D), by one backward pass per
    chunk.
    """

    def __init__(
        self,
        model: Model,
        x: Tensor,
        y: Tensor,
        temperature: Temperature = 1.0,
        likelihood_temperature: Temperature = 1.0,
        chunk_size: int | None = None,
    ):
        validate.positive("temperature", temperature, "T < 1 is colder than the posterior, T = 1 is Bayes.")
        validate.positive("likelihood_temperature", likelihood_temperature)
        self.y = model.check_data(x, y)
        self.model, self.x = model, x = model.split(x)
        self.temperature, self.likelihood_temperature = (
            T.to(float_like(x)) if isinstance(T, Tensor) else T for T in (temperature, likelihood_temperature)
        )
        self.chunk_chosen = chunk_size is None
        self.chunk_size = model.chunk_size(x) if chunk_size is None else chunk_size
        validate.count("chunk_size", self.chunk_size)

    def on_batch(self, index: Tensor) -> LogPosterior:
        """The unbiased estimate from a minibatch: its log likelihood is multiplied by N / batch size.

        `index` (B,) holds the positions of the batch in the data.
        """
        batch = object.__new__(LogPosterior)
        batch.__dict__.update(self.__dict__)
        batch.x, batch.y = self.x[index], self.y[index]
        batch.likelihood_temperature = self.likelihood_temperature * (len(index) / len(self.x))
        if self.chunk_chosen:
            batch.chunk_size = self.model.chunk_size(batch.x)
        return batch

    def batches(self, batch_size: int | None, shuffle: torch.Generator | None) -> Iterator[LogPosterior]:
        """Without end: this density, or its estimates from minibatches that go through shuffled data in turn.

        Every row sees the same minibatches. `batch_size` None or at least N means all the data.
        """
        N = len(self.x)
        if batch_size is None or batch_size >= N:
            while True:
                yield self
        order = torch.empty(0, dtype=torch.long)
        while True:
            if len(order) < batch_size:
                order = torch.cat([order, torch.randperm(N, generator=shuffle)])
            yield self.on_batch(order[:batch_size].to(self.x.device))
            order = order[batch_size:]

    def likelihood(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """The log likelihood alone, log p(D | theta) / T_lik (S,), and its gradient (S, D)."""
        return self._evaluate(theta, with_prior=False)

    def __call__(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        value, gradient = self._evaluate(theta, with_prior=True)
        return _divide(value, self.temperature), _divide(gradient, self.temperature)

    @torch.no_grad()
    def _evaluate(self, theta: Tensor, with_prior: bool) -> tuple[Tensor, Tensor]:
        model, layout, T_lik = self.model, self.model.layout, self.likelihood_temperature
        value, gradient, scale = theta.new_empty(len(theta)), torch.empty_like(theta), layout.scale(theta)
        n = self.model.data_per_pass(self.x)
        for start in range(0, len(theta), self.chunk_size):
            rows = slice(start, start + self.chunk_size)
            part, weights = theta[rows], layout.weights(theta[rows])
            for first in range(0, len(self.x), n):
                y = self.y[first : first + n]
                f, pull = model.pullback(weights, self.x[first : first + n])
                fit = _divide(model.likelihood.log_prob(f, y).sum(1), T_lik, rows)
                pulled = pull(_divide(model.likelihood.slope(f, y), T_lik, rows))
                if first == 0:
                    value[rows] = fit
                    torch.mul(pulled, scale, out=gradient[rows])
                else:
                    value[rows] += fit
                    gradient[rows].addcmul_(pulled, scale)
            if with_prior:
                value[rows] += model.log_prior(part)
                gradient[rows] += model.prior_slope(part)
        return value, gradient


def _divide(values: Tensor, temperature: Temperature, rows: slice = slice(None)) -> Tensor:
    """Values (S, ...) divided by a number, or by the temperatures of these rows."""
    if isinstance(temperature, Tensor) and temperature.ndim:
        temperature = temperature[rows].reshape(-1, *[1] * (values.ndim - 1))
    return values / temperature if isinstance(temperature, Tensor) or temperature != 1 else values
