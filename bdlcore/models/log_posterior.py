"""The one thing a sampler sees of a model: theta (S, D) -> log density (S,) and its gradient (S, D)."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from copy import copy

import torch
from torch import Tensor

from .._support import validate
from .model import Model
from .reading import Data, Reader, is_read
from .stack import float_like

Temperature = float | Tensor
_KEPT = 2  # places for weights: chunks of a stack have one length, and the last one another


class _Place:
    """Memory for the weights of S rows, and the pullback there: what every gradient of a run needs anew, made once."""

    @torch.inference_mode(False)  # or it could not be written to again outside inference mode
    def __init__(self, model: Model, theta: Tensor):
        self.scale, self.mean = model.layout.scale(theta), model.layout.mean(theta)
        self.weights = torch.empty(theta.shape, dtype=theta.dtype, device=theta.device)
        self.pullback = model.pullback_at(self.weights)

    def put(self, theta: Tensor) -> None:
        """Make the weights those of theta (S, D)."""
        torch.mul(theta, self.scale, out=self.weights)
        if self.mean is not None:
            self.weights.add_(self.mean)


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

    Attributes:
        count: N, the number of all the data, of a minibatch as well.
        batch_size: that the data come with; None, which tensors do not.
        like: a tensor in the dtype and on the device of the weights.

    Calling it with theta (S, D) returns the density (S,) and its gradient (S, D), by one backward pass per
    chunk; `gradient` leaves out the density, which a sampler does not need at every step.
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
        _check_temperatures(temperature, likelihood_temperature)
        self.y = model.check_data(x, y)
        self.count, self.given, self.batch_size = len(x), x, None
        self.model, self.x = model, x = model.split(x)
        self.like = float_like(x)
        self._set(temperature, likelihood_temperature)
        self.chunk_chosen, self.chunk_size = chunk_size is None, chunk_size
        self._size_passes()
        validate.count("chunk_size", self.chunk_size)
        self._places: dict[tuple[int, torch.dtype], _Place] = {}  # copies at other temperatures share them

    def _size_passes(self) -> None:
        """Bound the memory of a pass over x: by data per pass, and by rows."""
        self.data_per_pass = self.model.data_per_pass(self.x)
        if self.chunk_chosen:
            self.chunk_size = max(1, self.data_per_pass // len(self.x))

    def _set(self, temperature: Temperature, likelihood_temperature: Temperature) -> None:
        self.temperature, self.likelihood_temperature = (
            T.to(self.like) if isinstance(T, Tensor) else T for T in (temperature, likelihood_temperature)
        )

    def at(self, temperature: Temperature, likelihood_temperature: Temperature) -> LogPosterior:
        """The same at other temperatures."""
        _check_temperatures(temperature, likelihood_temperature)
        density = copy(self)
        density._set(temperature, likelihood_temperature)
        return density

    def inputs(self, positions: Tensor) -> Tensor:
        """Some of the inputs, as they were given."""
        return self.given[positions.to(self.given.device)]

    def on_batch(self, index: Tensor) -> LogPosterior:
        """The unbiased estimate from a minibatch: its log likelihood is multiplied by N / batch size.

        `index` (B,) holds the positions of the batch in the data.
        """
        batch = copy(self)
        batch.x, batch.y = self.x[index], self.y[index]
        batch.likelihood_temperature = self.likelihood_temperature * (len(index) / self.count)
        batch._size_passes()
        return batch

    def batches(
        self, batch_size: int | None, shuffle: torch.Generator | None, skip: int = 0
    ) -> Iterator[LogPosterior]:
        """Without end: this density, or its estimates from minibatches that go through shuffled data in turn.

        Every row sees the same minibatches. `batch_size` None or at least N means all the data; the first `skip`
        minibatches are left out.
        """
        if batch_size is None or batch_size >= self.count:
            return itertools.repeat(self)
        orders = shuffled(self.count, batch_size, shuffle, skip)
        return (self.on_batch(order.to(self.x.device)) for order in orders)

    def likelihood(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """The log likelihood alone, log p(D | theta) / T_lik (S,), and its gradient (S, D)."""
        return self._evaluate(theta, with_prior=False)

    def __call__(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        value, gradient = self._evaluate(theta, with_prior=True)
        return _divide(value, self.temperature), _divide(gradient, self.temperature)

    def gradient(self, theta: Tensor) -> Tensor:
        """The gradient (S, D) alone, to the last bit that of a call, without the work that the density takes."""
        return _divide(self._evaluate(theta, with_prior=True, with_value=False)[1], self.temperature)

    @torch.no_grad()
    def _evaluate(self, theta: Tensor, with_prior: bool, with_value: bool = True) -> tuple[Tensor, Tensor]:
        """The density, which means nothing without `with_value`, and its gradient."""
        T_lik = self.likelihood_temperature
        if 0 < theta.shape[0] <= self.chunk_size:
            return self._pass(theta, T_lik, with_prior, with_value)
        value, gradient = theta.new_empty(len(theta)), torch.empty_like(theta)
        for start in range(0, len(theta), self.chunk_size):
            rows = slice(start, start + self.chunk_size)
            own = T_lik[rows] if isinstance(T_lik, Tensor) and T_lik.ndim else T_lik
            value[rows], gradient[rows] = self._pass(theta[rows], own, with_prior, with_value)
        return value, gradient

    def _pass(
        self, theta: Tensor, T_lik: Temperature, with_prior: bool, with_value: bool
    ) -> tuple[Tensor, Tensor]:
        """`_evaluate` of one chunk, the data in as few parts as fit."""
        model, place = self.model, self._place(theta)
        place.put(theta)
        value, gradient = theta.new_zeros(theta.shape[0]), None
        for x, y in self._parts():
            f, pull = place.pullback(x)
            if with_value:
                value = value + _divide(model.likelihood.log_prob(f, y).sum(1), T_lik)
            pulled = pull(_divide(model.likelihood.slope(f, y), T_lik))
            if gradient is None:
                gradient = pulled * place.scale
            else:
                gradient.addcmul_(pulled, place.scale)
        if with_prior:
            if with_value:
                value += model.log_prior(theta)
            model.add_prior_slope(gradient, theta)
        return value, gradient

    def _place(self, theta: Tensor) -> _Place:
        """For rows like theta (S, D)."""
        key = theta.shape[0], theta.dtype
        if key not in self._places:
            while len(self._places) >= _KEPT:
                self._places.pop(next(iter(self._places)))
            self._places[key] = _Place(self.model, theta)
        return self._places[key]

    def _parts(self) -> Iterable[tuple[Tensor, Tensor]]:
        """The data, as many at a time as fit."""
        n = self.data_per_pass
        if n >= self.x.shape[0]:
            return ((self.x, self.y),)
        return zip(self.x.split(n), self.y.split(n), strict=True)


class ReadLogPosterior:
    """`LogPosterior` of data that a `Reader` gives, with the same methods; at most a batch of them is held.

    Args:
        reader: the data.
        Others as of `LogPosterior`.

    Calling it reads all the data; `batches` reads each minibatch while it is asked for.
    """

    def __init__(
        self,
        model: Model,
        reader: Reader,
        temperature: Temperature = 1.0,
        likelihood_temperature: Temperature = 1.0,
        chunk_size: int | None = None,
    ):
        LogPosterior(model, reader.x, reader.y, temperature, likelihood_temperature, chunk_size)  # raises now
        self.model, self.reader, self.chunk_size = model, reader, chunk_size
        self.temperature, self.likelihood_temperature = temperature, likelihood_temperature
        self.count, self.batch_size = reader.count, reader.batch_size
        self.x, self.like = reader.x, float_like(reader.x)
        self.inputs = reader.inputs

    def at(self, temperature: Temperature, likelihood_temperature: Temperature) -> ReadLogPosterior:
        """See `LogPosterior`."""
        _check_temperatures(temperature, likelihood_temperature)
        density = copy(self)
        density.temperature, density.likelihood_temperature = temperature, likelihood_temperature
        return density

    def batches(
        self, batch_size: int | None, shuffle: torch.Generator, skip: int = 0
    ) -> Iterator[LogPosterior]:
        """See `LogPosterior`; the minibatches are the same, and so are what random transforms draw for each."""
        if batch_size is None or batch_size >= self.count:
            orders = itertools.repeat(torch.arange(self.count))
        else:
            orders = shuffled(self.count, batch_size, shuffle, skip)
        self.reader.must_fit(
            min(batch_size or self.count, self.count), "data of one step", "Use a smaller batch_size."
        )
        read = self.reader.read((order.tolist() for order in orders), shuffle.initial_seed(), skip)
        return (self._on(x, y) for x, y in read)

    def _on(self, x: Tensor, y: Tensor) -> LogPosterior:
        """The estimate from a minibatch."""
        T_lik = self.likelihood_temperature * (len(x) / self.count)
        return LogPosterior(self.model, x, y, self.temperature, T_lik, self.chunk_size)

    def likelihood(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """See `LogPosterior`."""
        value, gradient = theta.new_zeros(len(theta)), torch.zeros_like(theta)
        for x, y in self.reader.chunks(self.model.data_per_pass(self.reader.x)):
            part = LogPosterior(self.model, x, y, 1.0, self.likelihood_temperature, self.chunk_size)
            of_part = part.likelihood(theta)
            value, gradient = value + of_part[0], gradient + of_part[1]
        return value, gradient

    def gradient(self, theta: Tensor) -> Tensor:
        """See `LogPosterior`."""
        return self(theta)[1]

    def __call__(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        value, gradient = self.likelihood(theta)
        value, gradient = value + self.model.log_prior(theta), gradient + self.model.prior_slope(theta)
        T = self.temperature.to(theta) if isinstance(self.temperature, Tensor) else self.temperature
        return _divide(value, T), _divide(gradient, T)


def log_posterior(
    model: Model,
    x: Data,
    y: Tensor | None,
    temperature: Temperature = 1.0,
    likelihood_temperature: Temperature = 1.0,
    chunk_size: int | None = None,
) -> LogPosterior | ReadLogPosterior:
    """The log posterior of data that are tensors, or that are read."""
    settings = temperature, likelihood_temperature, chunk_size
    if is_read(x):
        return ReadLogPosterior(model, Reader(x, y, device=model.device), *settings)
    return LogPosterior(model, x, y, *settings)


def in_memory(model: Model, x: Data, y: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """x and y as tensors, read once where they have to be; a random transform then has drawn once for each datum."""
    if not is_read(x):
        return x, y
    reader = Reader(x, y, device=model.device)
    model.check_data(reader.x, reader.y)
    return reader.gather(model.data_per_pass(reader.x))


def shuffled(N: int, batch_size: int, shuffle: torch.Generator, skip: int = 0) -> Iterator[Tensor]:
    """Without end, positions (batch_size,) of minibatches through shuffled data in turn, after `skip` of them."""
    order = torch.empty(0, dtype=torch.long)
    for batch in itertools.count():
        if len(order) < batch_size:
            order = torch.cat([order, torch.randperm(N, generator=shuffle)])
        if batch >= skip:
            yield order[:batch_size]
        order = order[batch_size:]


def _check_temperatures(temperature: Temperature, likelihood_temperature: Temperature) -> None:
    validate.positive("temperature", temperature, "T < 1 is colder than the posterior, T = 1 is Bayes.")
    validate.positive("likelihood_temperature", likelihood_temperature)


def _divide(values: Tensor, temperature: Temperature) -> Tensor:
    """Values (S, ...) divided by a number, or by the temperatures of the rows."""
    if isinstance(temperature, Tensor) and temperature.ndim:
        temperature = temperature.reshape(-1, *[1] * (values.ndim - 1))
    return values / temperature if isinstance(temperature, Tensor) or temperature != 1 else values
