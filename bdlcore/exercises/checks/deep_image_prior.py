"""Checks of lesson 07: the masked loss, averages over steps and networks, when to stop, PSNR, honest pixels."""

from __future__ import annotations

import torch
from torch import Tensor

from ...data.photos import photo
from ...nets.generators import hourglass
from ...restoration.quality import psnr
from .._machine import exercise
from .._trial import Trial
from . import REDRAWS, swapped

NOISE_STD, BAR = 0.1, 22.0  # of the last exercise; the bar in decibels
TOO_GOOD = 24.2  # decibels; twelve deeper networks have 23.0, and a quarter of the clean photo mixed in 24.9


@exercise(
    "masked-loss",
    points=2,
    hints=(
        "Degrade the pictures, subtract the observation, square; that has shape (S, C, h, w).",
        "The mean is over observed values: each pixel where the mask is True has C of them, one in every channel.",
        "(degrade(images) - observed).square()[..., mask].mean((1, 2))",
    ),
)
def masked_loss(answer: object, trial: Trial) -> None:
    """Mean squared error over the observed values, against one member at a time."""
    S, C, H, W = trial.integer(2, 4), 3, trial.integer(4, 5), 6
    images = trial.rand(S, C, H, W)
    mask = torch.randperm(H * W, generator=trial.generator).reshape(H, W) < 11  # 3 * 11 values are not H * W
    observed = trial.rand(C, H, W) * mask
    black = mask.flatten().nonzero()[:3, 0]
    observed.view(C, -1)[:, black] = 0.0  # observed, and black
    observed.view(C, -1)[0, mask.flatten().nonzero()[3:6, 0]] = 0.0  # black in one channel

    def shake(images: Tensor) -> Tensor:
        return (images + images.roll(1, -1)) / 2

    def loss(error: Tensor, where: Tensor = mask) -> Tensor:
        return torch.stack([one[:, where].square().mean() for one in error])

    error = shake(images) - observed
    not_black = observed != 0
    want, total = loss(error), (error.square() * mask).sum((1, 2, 3))
    got = trial.call(answer, images, observed, mask, shake)
    all_values, some = C * H * W, "Masked, but divided by the number of *all* values:"
    mistakes = {
        "The mask is missing: pixels that nobody observed are no data.": error.square().mean((1, 2, 3)),
        "You took zeros of `observed` for what is missing: black pixels were observed, too. The mask tells which.": (
            loss(error, not_black.any(0)),
            loss(error, not_black.all(0)),
            (error.square() * not_black).sum((1, 2, 3)) / not_black.sum(),
        ),
        "The mask is inverted: that is the mean over what was *not* observed.": loss(error, ~mask),
        f"{some} the mean is over the observed ones.": total / all_values,
        f"{some} and that is one number for all members.": total.mean() / all_values,
        "Divided by the number of observed pixels; each has a value in every channel.": total / mask.sum(),
        "Divided by H·W: neither the mask nor the channels are counted.": total / (H * W),
        "That is a sum; take the mean over observed values.": total,
        "`degrade` is not used: pictures pass it before they are compared with an observation.": (
            loss(images - observed)
        ),
        "You degraded the observation, too; it is what the degradation has left.": (
            loss(shake(images - observed))
        ),
        "You masked the pictures before `degrade`; the mask belongs to what is observed of them.": (
            loss(shake(images * mask) - observed)
        ),
        "Square before you take the mean: else errors up and down cancel.": (
            error[..., mask].mean((1, 2)) ** 2
        ),
        "Square the errors: that is their mean absolute value.": error[..., mask].abs().mean((1, 2)),
        "That is the root of the mean square; the loss has none.": want.sqrt(),
        "That is one number for all members: return a loss for each. Else a gradient depends on S.": (
            want.mean()
        ),
        "You summed over members: return a loss for each, (S,).": want.sum(),
    }
    trial.reject_mistakes(got, want, mistakes)
    trial.expect_shape(got, (S,), "One loss for each network, (S,).")
    trial.expect_close(got, want, "The mean of the squared errors over the observed values of each member.")
    images.requires_grad_()
    message = (
        "The numbers are right, but no gradient with respect to the images flows through them, and a loss is there to "
        "be minimised: stay with torch from start to end, without float(), .item(), .detach() or NumPy."
    )
    got = trial.call(answer, images, observed, mask, shake, stops=message)
    if isinstance(got, (list, tuple)) and all(isinstance(one, Tensor) for one in got):
        got = torch.stack([one.reshape(()) for one in got])
    (pull,) = torch.autograd.grad(loss(shake(images) - observed).sum(), images)
    trial.expect_gradient(got, [images], [pull], message)


@exercise(
    "running-average",
    points=1,
    hints=(
        "Begin with a = frames[0]; then go through the frames with t = 0, 1, ...",
        "beta is the share that the *old* average keeps: small at first, `longest` in the end.",
        "beta = min(longest, (1 + t) / (10 + t)); a = beta * a + (1 - beta) * frames[t]; append a to a list.",
    ),
)
def running_average(answer: object, trial: Trial) -> None:
    """The running average with its warm-up, frame by frame."""
    T, shape = trial.integer(13, 15), (trial.integer(1, 3), 3, 2)
    frames, longest = trial.randn(T, *shape), trial.uniform(0.4, 0.5)
    warm = [(1 + t) / (10 + t) for t in range(T + 1)]
    betas = [min(longest, beta) for beta in warm]

    def averages(betas: list[float], a: Tensor = frames[0]) -> Tensor:
        rows = []
        for beta, frame in zip(betas, frames):
            a = beta * a + (1 - beta) * frame
            rows.append(a)
        return torch.stack(rows)

    want, first = averages(betas), frames[:1]
    so_far = torch.stack([frames[: t + 1].mean(0) for t in range(T)])
    got = trial.call(answer, frames, longest)
    mistakes = {
        "No warm-up: with beta = longest from the start, the first pictures, mere blots, stay in for long.": (
            averages([longest] * T)
        ),
        "beta and 1 - beta are swapped: beta is the share of the *old* average.": (
            averages([1 - b for b in betas])
        ),
        "The smaller of the two: beta grows until it reaches `longest`. Yours is the larger.": (
            averages([max(longest, beta) for beta in warm])
        ),
        "`longest` is missing: beta must stop growing there.": averages(warm),
        "One step off: t counts from 0.": averages(betas[1:]),
        "One step late: t = 0 belongs to the first frame, so the second has t = 1.": (
            averages([0.0, *betas])
        ),
        "One behind: append the average *after* the step, not before.": torch.cat([first, want[:-1]]),
        "The average starts at zeros, that is black, and not at the first picture.": (
            averages(betas, torch.zeros(shape, dtype=torch.float64))
        ),
        "That is the mean of all frames so far, which never forgets the first ones.": so_far,
        "That is only the last average; return one after every step.": want[-1],
        "Every row is the last average: changed in place, one tensor is in the list T times. Append a copy.": (
            want[-1:].expand_as(want)
        ),
        "These are the frames as they were.": frames,
    }
    trial.judge(got, want, mistakes, "a <- beta a + (1 - beta) frame, after every step.")


@exercise(
    "held-out-stop",
    points=2,
    hints=(
        "Which pixels have noise that the fit has not seen? Which picture will be used?",
        "The squared error of `averages`, (F, S, C, H, W), times kept[:, None], (S, 1, H, W), summed to (F, S).",
        "steps[((averages - observed).square() * kept[:, None]).sum((2, 3, 4)).argmin(0)]",
    ),
)
def held_out_stop(answer: object, trial: Trial) -> None:
    """The step at which held-out pixels are predicted best, against a search through frames."""
    F, S, C, H, W = 9, 4, 3, trial.integer(4, 5), 6  # a mask for C in place of S cannot be broadcast
    mask = torch.randperm(H * W, generator=trial.generator).reshape(H, W) < 16
    kept = torch.zeros(S, H, W, dtype=torch.bool)
    for member in kept:
        places = mask.nonzero()[torch.randperm(16, generator=trial.generator)[:5]]
        member[places[:, 0], places[:, 1]] = True
    fitted, observed, everything = mask & ~kept, trial.rand(C, H, W) * mask, torch.ones_like(kept)

    def pictures() -> Tensor:
        """Errors of each kind of pixel go up and down on their own."""
        sizes = [0.1 * (1 + trial.rand(F, S, 1, 1, 1).argsort(0)) for _ in range(3)]
        parts = [
            size * where[:, None] for size, where in zip(sizes, (fitted, kept, ~mask[None]), strict=True)
        ]
        # of half of the pictures one held-out pixel in five has all of the error: its size and its square rank apart
        few = kept & (kept.flatten(1).cumsum(1).view_as(kept) % 5 == 1)
        lumped = trial.rand(F, S, 1, 1, 1) < 0.5
        parts[1] = torch.where(lumped, 5**0.5 * sizes[1] * few[:, None], parts[1])
        return observed + sum(parts) + 0.01 * trial.randn(F, S, C, H, W)

    def errors(pictures: Tensor, where: Tensor = kept, power: float = 2.0) -> Tensor:
        size = (pictures - observed).abs().pow(power).mean(2)  # (F, S, H, W)
        return (size * where).sum((2, 3)) / where.sum((1, 2))

    for _ in range(REDRAWS):  # until no two rules choose alike
        steps, frames, averages = trial.randint(3, 30, F).cumsum(0), pictures(), pictures()
        error = errors(averages)
        want, joint = error.argmin(0), error.mean(1).argmin().expand(S)
        on_fitted = (
            "That is chosen on the pixels in the loss. Their error falls on and on, while noise is learned."
        )
        as_drawn = "That is chosen for the pictures as drawn; the running averages will be used."
        mistakes = {
            on_fitted: errors(averages, fitted).argmin(0),
            f"{on_fitted} And for the pictures as drawn.": errors(frames, fitted).argmin(0),
            as_drawn: errors(frames).argmin(0),
            "That is chosen on all observed pixels; those in the loss outvote the ones held out.": (
                errors(averages, fitted | kept).argmin(0)
            ),
            "That is chosen on all pixels, also where nothing was observed (and `observed` holds zeros).": (
                errors(averages, everything).argmin(0)
            ),
            "That is chosen on all pixels outside the loss; not all of them were observed.": (
                errors(averages, ~fitted).argmin(0)
            ),
            "That is chosen by the absolute error; what the fit minimises, and PSNR counts, is the squared one.": (
                errors(averages, power=1.0).argmin(0)
            ),
            "That is the step of the *largest* error.": error.argmax(0),
            "That is one step for all members; each has its own noise to escape.": joint,
            "You used the held-out pixels of member 0 for all; the others have fitted some of these.": (
                errors(averages, kept[:1].expand_as(kept)).argmin(0)
            ),
            "That is where the error first rises; it goes up and down, so look for the least of all.": (
                (error.diff(dim=0) > 0).int().argmax(0)
            ),
            "That is the last step: nothing was stopped.": torch.full((S,), F - 1),
        }
        if len({tuple(choice.tolist()) for choice in (want, *mistakes.values())}) == len(mistakes) + 1:
            break
    got = trial.call(answer, steps, frames, averages, observed, fitted, kept)
    mistakes = {
        "These are places in the list; return the steps: steps[place].": want,
        "These are the least errors; return the steps at which they occur.": error.amin(0),
    } | {message: steps[choice] for message, choice in mistakes.items()}
    trial.reject_mistakes(got, steps[want], mistakes)
    trial.expect_shape(got, (S,), "One step for each member, (S,).")
    trial.expect_close(
        got, steps[want], "The step at which each member's average predicts its held-out pixels best."
    )


@exercise(
    "bug-psnr",
    points=2,
    hints=(
        "Give it two pictures of a single pixel, 3 and 5, and print every intermediate result, with its dtype.",
        "torch.uint8 holds 0, ..., 255 and wraps around: 3 - 5 = 254, and 20 * 20 = 144.",
        "Convert both to float *before* you subtract.",
    ),
)
def bug_psnr(answer: object, trial: Trial) -> None:
    """Find the bug: uint8 wraps around."""
    S, C, H, W = trial.integer(2, 4), 3, 6, 5
    reference = trial.randint(0, 256, C, H, W)
    scale = torch.linspace(20, 90, S, dtype=torch.float64).reshape(-1, 1, 1, 1)
    images = (reference + scale * trial.randn(S, C, H, W)).round().clamp(0, 255).long()
    images[:, 0, 0, 0], reference[0, 0, 0] = 255, 0  # an error whose square no int16 can hold
    error = images - reference

    def decibels(square: Tensor, peak: float = 255.0) -> Tensor:
        return 10 * (peak**2 / square.double().mean((-1, -2, -3))).log10()

    want = decibels(error**2)
    got = trial.call(answer, images.to(torch.uint8), reference.to(torch.uint8))
    trial.unchanged_if_close(got, decibels(error**2 % 256))
    mistakes = {
        "The difference still wraps around: it is converted when 3 - 5 is 254 already.": (
            decibels((error % 256) ** 2)
        ),
        "The squares wrap around: 255² = 65025 is more than an int16 can hold, 32767.": (
            decibels((error**2).short())
        ),
        "An int8 holds -128, ..., 127, and pixels go to 255.": (
            decibels((images.char() - reference.char()).double() ** 2)
        ),
        "That is one number for the stack; each picture has its own.": (
            decibels((error**2).double().mean(0))
        ),
        "That is the mean of the decibels; return one number for each picture.": want.mean(),
        "Twice too much: 20 log10 goes with the root of the mean square.": 2 * want,
        "Decibels are 10 log10, not 10 times the natural logarithm.": want * torch.tensor(10.0).log(),
        "The peak is missing: these pixels go to 255, not to 1.": decibels(error**2, 1.0),
        "Pixels were divided by 255, so the peak is 1 now; you multiply by 255² all the same.": (
            decibels(error**2, 255.0**2)
        ),
        "255 enters squared, like the error.": decibels(error**2, 255.0**0.5),
    }
    message = "10 log10(255² / MSE) of each picture, in numbers that do not wrap around."
    trial.judge(got, want, mistakes, message)


@exercise(
    "average-pictures",
    points=1,
    hints=(
        "The integral over w is of the picture G_w(z), not of w.",
        "First let every member draw its picture with its own z, then take the mean over members.",
        "network.images(weights, z).mean(0)",
    ),
)
def average_pictures(answer: object, trial: Trial) -> None:
    """The mean picture of several networks, drawn one by one."""
    S, network = trial.integer(4, 5), hourglass((3, 8, 8), (4,), inputs=2)
    weights = trial.randn(S, sum(p.numel() for p in network.parameters()))
    z = trial.rand(S, 2, 8, 8)
    images = torch.cat([network.images(weights[[s]], z[[s]]) for s in range(S)])
    mean, z_mean = weights.mean(0, keepdim=True), z.mean(0, keepdim=True)
    got = trial.call(answer, network, weights, z)
    of_mean = (
        "You averaged the weights: a network half-way between two networks draws another picture, a bad one."
    )
    mistakes = {
        f"{of_mean} (And the inputs z.)": network.images(mean, z_mean)[0],
        f"{of_mean} (With z[0].)": network.images(mean, z[:1])[0],
        of_mean: network.images(mean.expand(S, -1), z).mean(0),
        "All members got z[0]; each was fitted with its own z.": network.images(weights, z[:1]).mean(0),
        "You averaged the inputs z; each member was fitted with its own.": (
            network.images(weights, z_mean).mean(0)
        ),
        "That is the sum of the pictures.": images.sum(0),
        "These are the pictures of all members; return their mean.": images,
        "That is the picture of one member.": images[0],
        "That is the median; the mean is the expectation.": images.median(0).values,
        "You averaged before the last sigmoid; average what is drawn in the end.": (
            images.logit().mean(0).sigmoid()
        ),
    }
    mistakes = {message: (mistaken, mistaken[None]) for message, mistaken in mistakes.items()}
    want = images.mean(0)
    trial.reject_mistakes(got, want, mistakes)
    trial.expect_shape(got, want.shape, "One picture, (C, H, W).")
    trial.expect_close(got, want, "The mean over members of the pictures that they draw, (C, H, W).")


@exercise(
    "honest-pixels",
    points=2,
    hints=(
        "The estimate is the mean of the draws; its error is mean - reference, pixel by pixel.",
        "Draws of f spread as f is uncertain. A noisy reference also has noise: variances add.",
        "variance = draws.var(0) + noise_std**2; ratio = sqrt(mean(error²) / mean(variance)).",
    ),
)
def honest_pixels(answer: object, trial: Trial) -> None:
    """RMS error over RMS std and the share of errors within two std, against sums over pixels."""
    S, shape = trial.integer(8, 12), (3, trial.integer(6, 8), 7)
    spread = 0.02 + 0.1 * trial.rand(*shape)
    draws = 0.5 + 0.2 * trial.randn(*shape) + spread * trial.randn(S, *shape)
    noise_std = trial.uniform(0.15, 0.25) if trial.index % 2 == 0 else 0.0
    error = 1.2 * (spread * trial.randn(*shape) + noise_std * trial.randn(*shape))
    for c in (0, 1):  # no error lies on the edge of two std, within rounding
        edge = 2 * (draws.var(0, correction=c) + noise_std**2).sqrt()
        error = torch.where((error.abs() / edge - 1).abs() < 1e-3, 0.9 * error, error)
    reference = draws.mean(0) + error

    def rms(values: Tensor) -> Tensor:
        return values.square().mean().sqrt()

    def within(std: Tensor, times: float = 2.0) -> Tensor:
        return (error.abs() <= times * std).double().mean()

    alone, std, other = draws.std(0), *((draws.var(0, correction=c) + noise_std**2).sqrt() for c in (1, 0))
    want, other = (rms(error) / rms(std), within(std)), (rms(error) / rms(other), within(other))
    got = trial.call(answer, draws, reference, noise_std)
    ratio, share = trial.parts(got, "ratio", "share within two std")
    if swapped(trial, (ratio, share), want):
        trial.fail("Both are right, in another order: first the ratio, then the share.")
    mistakes = {
        "The ratio is upside down: error over std. A ratio above 1 means *too sure*.": 1 / want[0],
        "That is a ratio of mean squares; take the root.": want[0] ** 2,
        "Take the root of the mean *variance*; you averaged the stds, which is less.": (
            rms(error) / std.mean()
        ),
        "Take the root of mean squares above, too; you averaged the absolute errors.": (
            error.abs().mean() / rms(std)
        ),
        "You divided pixel by pixel, and took the RMS of that; one RMS over the other is asked for.": (
            rms(error / std)
        ),
        "That is the error of single draws; the estimate is the mean of the draws.": (
            rms(draws - reference) / rms(std)
        ),
        "You divided the std by √S: that is how well the draws' mean is known, not f.": (
            rms(error) / ((alone**2 / S).mean() + noise_std**2).sqrt()
        ),
        "The std is over all values of all draws; take it over draws, for each pixel.": (
            rms(error) / (draws.var() + noise_std**2).sqrt()
        ),
    }
    if noise_std:
        forgotten = "The reference has noise of its own, which is no part of f: its variance comes on top."
        mistakes |= {
            forgotten: rms(error) / rms(alone),
            f"{forgotten} (Your std is that of f alone.)": rms(error) / rms(draws.std(0, correction=0)),
            f"{forgotten} (And one RMS over the other is asked for.)": rms(error / alone),
            "Variances add; you added standard deviations.": rms(error) / rms(alone + noise_std),
            "Variances add, so the noise enters squared; you added its std to a variance.": (
                rms(error) / (alone**2 + noise_std).mean().sqrt()
            ),
            "That is the noise alone; f is uncertain as well.": rms(error) / noise_std,
        }
    message = "RMS error over RMS predicted std."
    trial.judge(ratio, want[0], mistakes, message, also=[other[0]], what="The ratio", part=True)
    mistakes = {
        "The share is of errors *within* two std; that is the share outside.": 1 - want[1],
        "That is a percentage; return a share between 0 and 1.": 100 * want[1],
        "That is the number of pixels; return the share of them.": want[1] * error.numel(),
        "That is the share within *one* std.": within(std, 1.0),
        "The size of the error counts: take its absolute value.": (error <= 2 * std).double().mean(),
        "The size of the error counts: take its absolute value, up or down.": (
            (-error <= 2 * std).double().mean()
        ),
        "The share uses another std than the ratio: noise and all, pixel by pixel.": (
            within(alone if noise_std else rms(std))
        ),
    }
    message = "The share of pixels with |error| ≤ 2 std."
    trial.judge(share, want[1], mistakes, message, also=[other[1]], what="The share", part=True)


def half_a_photo() -> tuple[Tensor, Tensor]:
    """What the last exercise gives of a photo of 32 pixels: half of it, with noise; and the mask of what was seen."""
    clean, g = photo("coffee", 32), torch.Generator().manual_seed(0)
    noisy = clean + NOISE_STD * torch.randn(clean.shape, generator=g)
    mask = torch.rand(clean.shape[1:], generator=g) < 0.5
    return noisy * mask, mask


@exercise(
    "restore-half",
    points=3,
    trials=1,
    hints=(
        "A network, the mask in the loss, and a stop by held-out pixels: that is `bdl.deep_image_prior` with a mask.",
        "What made several pictures of exercise 5 into one that was better than each?",
        "bdl.deep_image_prior(observed, mask=mask, members=10, steps=150).image",
    ),
)
def restore_half(answer: object, trial: Trial) -> None:
    """Beat blurs and single networks on a photo, half of it unseen."""
    observed, mask = half_a_photo()
    clean = photo("coffee", 32)
    trial.expect(not hasattr(answer, "image"), "That is a whole restoration; its picture is in `.image`.")
    trial.expect_shape(answer, clean.shape, "One picture: channels, height, width.")
    picture = trial.tensor(answer)
    trial.expect(picture.isfinite().all(), "Some pixels are NaN or infinite.")
    score, unseen = float(psnr(picture, clean)), float(psnr(picture, clean, ~mask))
    apart = float((picture - observed)[:, mask].square().mean().sqrt())
    facts = f"PSNR {score:.2f} dB; {unseen:.2f} dB on the pixels that were not observed."
    if score > TOO_GOOD:
        trial.fail("That is more than half a noisy photo can tell: did the clean photo take part?", facts)
    if float(picture[:, ~mask].mean()) < 0.75 * float(observed[:, mask].mean()):
        trial.fail(
            "The holes are dark: the zeros where nothing was observed are no data. Use the mask.", facts
        )
    if unseen < 15:
        trial.fail("The holes are not filled: what is drawn there must come from the pixels around.", facts)
    if apart < 0.65 * NOISE_STD:
        trial.fail(
            "The noise is still in it: it follows the noisy pixels more closely than their noise allows. Smooth it "
            "more; a fit that goes step by step has to stop earlier.",
            f"{facts} RMS distance to the observed pixels {apart:.3f}; the noise has {NOISE_STD}.",
        )
    if score < BAR:
        trial.fail(f"{score:.2f} dB of the {BAR:.0f} asked for. One network in time has about 21.3.", facts)
