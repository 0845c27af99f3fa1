"""Deep image prior: restore a picture by fitting an untrained network to what was observed of it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import nullcontext

import torch
from torch import Tensor

from .._support.adam import Adam
from .._support.devices import LOOKS
from .._support.progress import Interruptible, progress
from .._support.randomness import RowRandom, as_seed, generator
from ..models.priors import GaussianPrior
from ..models.stack import Stack
from ..nets.generators import Degradation, Generator, Penalty, hourglass
from . import observations
from .observations import OnStep
from .restoration import Restoration

DEFAULT_PRIOR = GaussianPrior(std=math.sqrt(2), bias_std=0.1, fan_in=True)


def deep_image_prior(
    observed: Tensor,
    *,
    degrade: Degradation | None = None,
    mask: Tensor | None = None,
    network: Generator | None = None,
    members: int | range = 1,
    steps: int = 600,
    lr: float = 0.1,
    jitter_std: float = 0.01,
    averaging: float = 0.99,
    held_out: float = 0.1,
    penalty: Penalty | None = None,
    prior: GaussianPrior = DEFAULT_PRIOR,
    z: Tensor | None = None,
    frames: int = 50,
    autocast: torch.dtype | None = None,
    on_step: OnStep | None = None,
    seed: int | torch.Generator = 0,
) -> Restoration:
    """Fit untrained generators G_w to an observation y, and keep the pictures on the way.

    Every member minimises by Adam, from its own draw of the prior,

        mean over the observed values of (degrade(G_w(z + jitter)) - y)^2 + penalty(G_w(z + jitter)),

    with its own fixed z and fresh jitter at each step. Nothing else is regularised: what restores the picture is that
    the network fits what looks like one long before it fits noise, and that the fit stops in time (Ulyanov, Vedaldi &
    Lempitsky 2018). To stop without the clean picture, a share of the observed values is kept out of the
    loss, and the step is chosen at which the running average predicts them best.

    The running average starts as the first picture and is a <- beta a + (1 - beta) G_w with
    beta = min(averaging, t / (t + 9)) at step t = 2, 3, ...: it reaches over about the last tenth of the steps, and
    over 1 / (1 - averaging) in the end.

    Args:
        observed: (channels, h, w), or (S, channels, h, w) with one for each of the S members. Float, scale [0, 1].
        degrade: differentiable map from pictures (S, channels, H, W) to what would be observed of them, such as
            `Downsample(4)`; the identity when None.
        mask: (h, w), True where `observed` was observed; everywhere when None.
        network: a generator; `hourglass` of the observation's size (times `degrade.factor`, if it has one) when None.
        members: number of members, or a range of them, so that a run can be split; as many as observations if
            these come with one for each.
        steps: Adam steps.
        lr: learning rate, in whitened units: 0.1 changes every weight by up to a tenth of its prior std.
        jitter_std: standard deviation of the noise added to z afresh at each step.
        averaging: beta of the running average in the long run, from 0 (none) to below 1.
        held_out: share of the observed pixels kept out of the loss to choose the step, from 0 (none; the last step
            is chosen) to 0.5.
        penalty: pictures (S, channels, H, W) -> (S,), added to the loss.
        prior: where the weights start; Gaussian.
        z: inputs (S, inputs, H, W), or (1, inputs, H, W) shared by all; drawn for each member when None.
        frames: number of steps whose pictures are kept, evenly spaced up to the last; they stay in the computer's
            main memory.
        autocast: a lower precision such as torch.bfloat16 for the network, worth it on a GPU with wide networks.
        on_step: called with the step (from 1) and the running averages (S, channels, H, W); the fit stops there when
            it returns True.
        seed: member i depends on (seed, i) alone, whoever else is fitted beside it.

    Returns:
        Restoration. After a KeyboardInterrupt, or when `on_step` says stop, with the steps done so far.

    Raises:
        TypeError, ValueError: before any step, when the observation, mask or sizes do not fit.
        RuntimeError: when the loss becomes NaN.
    """
    start, seed = time.perf_counter(), as_seed(seed)
    observed, mask = observations.observation(observed, mask)
    rows = observations.settings(observed, members, steps, lr, jitter_std, averaging, held_out, frames)
    observations.functions(network, degrade, penalty, on_step)
    network = _network_for(observed, degrade) if network is None else network
    like = {"dtype": observed.dtype, "device": observed.device}
    if z is not None:
        observations.inputs(network, z, len(rows))
    z = network.noise(rows, seed, **like) if z is None else z.to(**like)
    layout = prior.layout(network)
    theta = RowRandom(seed, rows, **like).normal(layout.dim)
    scale = layout.scale(theta)
    observations.sizes(network, degrade, penalty, observed, theta[:1] * scale, z, len(rows))
    fitted, kept = observations.split(mask, held_out, rows, seed)
    noise = [_device_generator(seed, row, observed.device) for row in rows]

    def misfit(images: Tensor, where: Tensor) -> Tensor:
        error = ((degrade(images) if degrade else images) - observed).square().mean(1)
        return (error * where).sum((1, 2)) / where.sum((1, 2))

    watch = _Watch(steps, frames, averaging)
    adam = Adam(theta)
    said = f"of {steps} steps are done: returning what there is."
    with Interruptible(lambda: f"{len(watch.loss)} {said}" if watch.loss else ""):
        for step in progress(steps, f"fitting {len(rows)} image(s)"):
            weights = theta.detach().requires_grad_()
            with torch.autocast(observed.device.type, autocast) if autocast else nullcontext():
                images = network.images(weights * scale, _jittered(z, jitter_std, noise))
            images = images.to(observed.dtype)
            loss = misfit(images, fitted) + (penalty(images) if penalty else 0)
            (gradient,) = torch.autograd.grad(loss.sum(), weights)
            adam.step(gradient, lr)
            with torch.no_grad():
                average = watch.take(
                    images.detach(), loss.detach(), lambda a: misfit(a, kept) if held_out else None
                )
                if step % LOOKS == 0:
                    _must_be_finite(watch.loss, lr)
                if on_step is not None and on_step(step + 1, average):
                    break
    _must_be_finite(watch.loss, lr)
    return watch.restoration(network, z.expand(len(rows), *z.shape[1:]), Stack(theta, layout), start)


def _must_be_finite(losses: list[Tensor], lr: float) -> None:
    broken = ~torch.isfinite(torch.stack(losses)).all(1)
    if broken.any():
        step = int(broken.int().argmax()) + 1
        raise RuntimeError(f"The loss became NaN or infinite at step {step}; use a smaller lr than {lr}.")


class _Watch:
    """The running average, the frames, and the choice of a step, as the pictures come by."""

    def __init__(self, steps: int, frames: int, averaging: float):
        self.averaging = averaging
        self.frame_steps = set(torch.linspace(steps, 1, min(frames, steps)).round().int().tolist())
        self.frames: dict[int, tuple[Tensor, Tensor]] = {}
        self.loss: list[Tensor] = []
        self.errors: list[Tensor] = []

    def take(self, images: Tensor, loss: Tensor, held_out_error: Callable[[Tensor], Tensor | None]) -> Tensor:
        """Take the pictures and losses of a step; returns the running averages."""
        self.loss.append(loss)
        step = len(self.loss)
        if step == 1:
            self.average = images
        else:
            self.average = self.average.lerp(images, 1 - min(self.averaging, step / (9 + step)))
        self.images = images
        error = held_out_error(self.average)
        if error is not None:
            self._choose(error, step)
        if step in self.frame_steps:
            self.frames[step] = images.cpu(), self.average.cpu()
        return self.average

    def _choose(self, error: Tensor, step: int) -> None:
        self.errors.append(error)
        if step == 1:
            self.least, self.chosen = error, self.average
            self.chosen_step = torch.ones_like(error, dtype=torch.long)
        better = error < self.least
        self.least = torch.where(better, error, self.least)
        self.chosen = torch.where(better[:, None, None, None], self.average, self.chosen)
        self.chosen_step = torch.where(better, step, self.chosen_step)

    def restoration(self, network: Generator, z: Tensor, stack: Stack, start: float) -> Restoration:
        done = len(self.loss)
        self.frames.setdefault(done, (self.images.cpu(), self.average.cpu()))  # after an interruption
        pictures, averages = zip(*self.frames.values(), strict=True)
        return Restoration(
            network=network,
            z=z,
            stack=stack,
            chosen=self.chosen if self.errors else self.average,
            chosen_step=self.chosen_step.cpu() if self.errors else torch.full((len(stack),), done),
            steps=torch.tensor(list(self.frames)),
            frames=torch.stack(pictures),
            averages=torch.stack(averages),
            loss=torch.stack(self.loss).cpu(),
            held_out_error=torch.stack(self.errors).cpu() if self.errors else None,
            seconds=time.perf_counter() - start,
        )


def _jittered(z: Tensor, std: float, generators: list[torch.Generator]) -> Tensor:
    """z with fresh noise for each member, each from its own generator."""
    if not std:
        return z
    noise = [torch.randn(z.shape[1:], generator=g, dtype=z.dtype, device=z.device) for g in generators]
    return torch.stack(noise).mul_(std).add_(z)


def _device_generator(seed: int, row: int, device: torch.device) -> torch.Generator:
    """The generator of a member's jitter, on the device: at paper scale, drawing on the CPU would take longest."""
    state = generator(seed, 7, row).initial_seed()
    return torch.Generator(device).manual_seed(state)


def _network_for(observed: Tensor, degrade: Degradation | None) -> Generator:
    factor = 1 if degrade is None else getattr(degrade, "factor", None)
    if factor is None:
        raise ValueError(
            "With a degradation of your own the size of the picture is not known; pass "
            "network=bdl.nets.hourglass((channels, height, width))."
        )
    channels, height, width = observed.shape[-3:]
    with torch.random.fork_rng(devices=[]):  # PyTorch initialises its layers from the global generator
        return hourglass((channels, factor * height, factor * width))
