"""A model is a network, a prior over its weights and a likelihood; it evaluates whole stacks of weights."""

from __future__ import annotations

from collections import defaultdict
from copy import copy

import torch
from torch import Tensor, nn

from .._support import memory, validate
from .._support.pullback import Pullback, PullbackAt
from .._support.randomness import RowRandom
from ..likelihoods.protocol import Likelihood
from ..nets.frozen import Split, Trainable, split
from ..nets.protocol import check_module, pullback_at, stacked, with_constants
from .priors import GaussianPrior
from .stack import Layout, Stack, check_stack, float_like

_NORMAL = GaussianPrior()  # of the likelihood's parameters


class Model:
    """Network + prior + likelihood.

    With f_w the network, the log joint density of weights and data is

        log p(D, w) = sum_n log p(y_n | f_w(x_n)) + log p(w).

    Everything here takes S settings at once, as whitened rows theta = w / prior std (see `Stack`), and
    returns S values. Where the likelihood has parameters of its own, such as an unknown noise, they are columns of the
    stack after the network's weights and, as they are, outputs of every function after the network's.

    Args:
        network: an `nn.Module` taking (N, ...) and returning (N, C). The values of its free parameters are not used.
        prior: the prior over its parameters.
        likelihood: what the outputs say about targets, such as `Gaussian(noise_std)` or `Categorical()`.
        trainable: the part that is Bayesian: names of its parameters or modules, one or several, with `*` for
            anything, such as "fc", ["layer4", "fc"] or "*.bias"; the rest keeps the network's values. None for all
            parameters but those with requires_grad=False.

    What the Bayesian part sees of an input does not change with its weights. These features are computed once per
    tensor x and remembered (`split`), so that a posterior over the last layer costs what one of a linear model does.
    """

    def __init__(
        self, network: nn.Module, prior: GaussianPrior, likelihood: Likelihood, trainable: Trainable = None
    ):
        check_module(network)
        for name, value, asked in (
            ("prior", prior, "bdl.GaussianPrior(std=1.0)"),
            ("likelihood", likelihood, "bdl.Gaussian(noise_std=0.1) or bdl.Categorical()"),
        ):
            wanted = "layout" if name == "prior" else "log_prob"
            if not hasattr(value, wanted) or isinstance(value, type):
                raise TypeError(f"{name} must be something like {asked}, got {value!r}.")
        self.network, self.prior, self.likelihood = network, prior, likelihood
        own = likelihood.own_parameters() if hasattr(likelihood, "own_parameters") else ()
        weights = prior.layout(network, trainable)
        self.layout: Layout = weights.beside(own)
        self._free, self._weights = weights.names, weights.dim  # of the network, the first columns of a stack
        self._stacked = with_constants(stacked(network, self._free), len(own))
        self._splits: dict[tuple[int, ...], Split | None] = {}

    def __repr__(self) -> str:
        fixed = sum(p.numel() for p in self.network.parameters()) - self._weights
        beside = f" beside {fixed} constant ones" if fixed else ""
        what = f"{type(self.network).__name__} with {self.layout.dim} weights{beside}"
        return f"Model({what}, {self.prior}, {self.likelihood})"

    @property
    def device(self) -> torch.device:
        """Where the network is: data that are read from a `Dataset` or `DataLoader` go there."""
        return next((p.device for _, p in self.network.named_parameters()), torch.device("cpu"))

    def split(self, x: Tensor) -> tuple[Model, Tensor]:
        """The head of a partly constant network as a model of features, and the features (N, F) of x.

        Both models have the same weights, prior and likelihood, so stacks and posteriors of one are those of the other.
        Where nothing is constant, or features would be too many to keep: the model itself, and x.
        """
        head, features = self.head(x), None
        if head is not self and memory.is_small(
            len(x) * self._splits[tuple(x.shape[1:])].width, float_like(x)
        ):
            features = self.features(x)
        return (self, x) if features is None else (head, features)

    def head(self, x: Tensor) -> Model:
        """The model of the features of inputs like x: the model itself where nothing is constant."""
        shape = tuple(x.shape[1:])
        if shape not in self._splits:
            self._splits[shape] = split(self.network, self._free, x)
        found = self._splits[shape]
        if found is None:
            return self
        head = copy(self)
        head.network = found.head
        head._stacked = with_constants(found.stacked, self.layout.dim - self._weights)
        head._splits = defaultdict(lambda: None)  # the head is not cut again
        return head

    def features(self, x: Tensor) -> Tensor:
        """What the head sees of x, (N, F), or x itself where nothing is constant; remembered while x lives."""
        self.head(x)
        found = self._splits[tuple(x.shape[1:])]
        return x if found is None else found.features(x, self.data_per_pass(x))

    # --- functions ---

    def sample_prior(
        self,
        samples: int | range,
        seed: int | torch.Generator,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> Stack:
        """Draw weight settings from the prior, a Gaussian's theta ~ N(0, I). Row s depends on (seed, s) alone."""
        rows = validate.rows("samples", samples)
        self.layout.must_fit(
            len(rows), torch.empty(0, dtype=dtype, device=device), "draws", "Draw a range at a time."
        )
        theta = RowRandom(seed, rows, dtype=dtype, device=device).normal(self.layout.dim)
        weights = theta[:, : self._weights]
        return Stack(self._columns(self.prior.from_normal(weights), theta), self.layout)

    def prior_like(self, samples: int | range, seed: int | torch.Generator, x: Tensor) -> Stack:
        """`sample_prior` in the dtype that goes with inputs x, and on their device."""
        like = float_like(x)
        return self.sample_prior(samples, seed, dtype=like.dtype, device=like.device)

    def forward(self, theta: Tensor, x: Tensor) -> Tensor:
        """f (S, N, C) for whitened rows theta (S, D), differentiable and unchecked: for samplers' inner loops."""
        return self.forward_weights(self.layout.weights(theta), x)

    def forward_weights(self, weights: Tensor, x: Tensor) -> Tensor:
        """As `forward`, for weights (S, D) in the network's own units."""
        return self._stacked.forward_stack(weights, x)

    def pullback(self, weights: Tensor, x: Tensor) -> tuple[Tensor, Pullback]:
        """f (S, N, C) for weights (S, D), and the map from g (S, N, C) to the gradient of sum(g * f), (S, D)."""
        return self._stacked.pullback(weights, x)

    def pullback_at(self, weights: Tensor) -> PullbackAt:
        """x -> `pullback` at a tensor of weights whose values may change between calls.

        What a call returns holds until the next call.
        """
        return pullback_at(self._stacked, weights)

    @torch.no_grad()
    def outputs(self, x: Tensor) -> int:
        """C, the number of outputs, parameters of the likelihood among them."""
        return self.forward(float_like(x).new_zeros(1, self.layout.dim), x[:1]).shape[-1]

    def functions(self, stack: Stack, x: Tensor, chunk_size: int | None = None) -> Tensor:
        """Values f_s(x_n) of every function of the stack, shape (S, N, C).

        Args:
            stack: S weight settings.
            x: (N, ...) inputs.
            chunk_size: rows evaluated at a time; bounds memory. Chosen when None.
        """
        check_stack(stack, self.layout, x)
        self.check_inputs(x)
        head, features = self.split(x)
        return head.evaluate(stack.theta, features, chunk_size)

    @torch.no_grad()
    def evaluate(self, theta: Tensor, x: Tensor, chunk_size: int | None = None) -> Tensor:
        """`functions` of whitened rows theta (S, D), unchecked."""
        if chunk_size is None:
            chunk_size = self.chunk_size(x)
        chunks = theta.split(validate.count("chunk_size", chunk_size))
        parts = x.split(self.data_per_pass(x))
        if len(parts) == 1:
            return torch.cat([self.forward(theta, x) for theta in chunks])
        return torch.cat([torch.cat([self.forward(theta, part) for part in parts], 1) for theta in chunks])

    def chunk_size(self, x: Tensor) -> int:
        """Rows per pass such that the widest activation on x takes at most `memory.PASS` bytes, or 1."""
        return max(1, self.data_per_pass(x) // len(x))

    def data_per_pass(self, x: Tensor) -> int:
        """Inputs per pass for one row, by the same bound."""
        return max(1, memory.values_in(memory.PASS, float_like(x)) // self._stacked.widest_activation(x))

    # --- densities ---

    def log_prior(self, theta: Tensor) -> Tensor:
        """log p(theta), (S,): log N(theta; 0, I) of a Gaussian prior. As a density of w it is lower by sum(log std)."""
        weights, own = theta[:, : self._weights], theta[:, self._weights :]
        log_p = self.prior.log_prob(weights)
        return log_p + _NORMAL.log_prob(own) if own.shape[1] else log_p

    def prior_slope(self, theta: Tensor) -> Tensor:
        """d log p(theta) / d theta, (S, D)."""
        return self._columns(self.prior.slope(theta[:, : self._weights]), -theta)

    def add_prior_slope(self, gradient: Tensor, theta: Tensor) -> None:
        """Add `prior_slope` of theta (S, D) to a gradient (S, D), in place."""
        if self.prior.gaussian:  # N(0, I), the likelihood's own parameters included
            gradient.sub_(theta)
        else:
            gradient.add_(self.prior_slope(theta))

    def _columns(self, weights: Tensor, theta: Tensor) -> Tensor:
        """Values of the network's weights, beside those that theta (S, D) has for the likelihood's parameters."""
        own = theta[:, self._weights :]
        return torch.cat([weights, own], 1) if own.shape[1] else weights

    def log_likelihood(self, theta: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """sum_n log p(y_n | f(x_n)), shape (S,), for targets as in `check_data`."""
        f = self.forward(theta, x)
        return self.likelihood.log_prob(f, self.likelihood.targets(y, f.shape[-1], float_like(x))).sum(1)

    def log_joint(self, theta: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """log p(D | w) + log p(w), shape (S,): the log posterior up to a constant."""
        return self.log_likelihood(theta, x, y) + self.log_prior(theta)

    def check_inputs(self, x: Tensor) -> None:
        """Raise when x does not fit the network."""
        validate.inputs("x", x, integers=True)  # the network knows whether it takes tokens
        self._stacked.check_inputs(x)

    def check_data(self, x: Tensor, y: Tensor) -> Tensor:
        """Check inputs and targets early and together; returns y as the likelihood wants it."""
        self.check_inputs(x)
        if x.dtype in (torch.float16, torch.bfloat16):
            raise TypeError(
                f"x is {x.dtype}, in which sums over data and small steps of the weights get lost, so that a fit is "
                "wrong without a word. Use x.float() and y.float()."
            )
        return self.likelihood.targets(y, self.outputs(x), float_like(x))
