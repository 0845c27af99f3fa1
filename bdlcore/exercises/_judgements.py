"""The judgements that a check is made of.

Each returns quietly or ends the trial by raising `NotYet` or `NotAttempted`, whose text is what the learner reads. A
check that runs to its end without one has found the answer correct in this trial.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping
from typing import NoReturn

import numpy as np
import torch

from ._reading import Unreadable, as_tensor, describe, tolerance

SCALE = 1e-3  # numbers that should be smaller than this are compared as if they were as large


class NotAttempted(Exception):
    """Ends a trial: the learner has not answered yet."""


class NotYet(Exception):
    """Ends a trial: not right yet. `message` names the likely mistake, `detail` adds the facts."""

    def __init__(self, message: str, detail: str = "") -> None:
        super().__init__(message)
        self.message, self.detail = message.strip(), detail.strip()


class Judgements:
    """The methods of a trial that judge an answer: `judge`, and what it is made of."""

    called = ""  # how the learner's function was last called, told beside a message

    def __init__(self) -> None:
        self.right: list[str] = []  # parts of the answer, by what they are
        self.wrong: list[NotYet] = []  # what is wrong of the other parts

    def fail(self, message: str, detail: str = "") -> NoReturn:
        """Not yet, for this reason."""
        raise NotYet(message, "\n".join(filter(None, (detail, self.called))))

    def expect(self, condition: object, message: str) -> None:
        """The condition must hold; else not yet, with this message."""
        if not bool(condition):
            self.fail(message)

    def tensor(self, value: object, what: str = "Your answer", ndim: int | None = None) -> torch.Tensor:
        """A learner's value as a float64 tensor on the CPU, to compute with; the learner is told if it is none."""
        try:
            numbers = as_tensor(value)
        except Unreadable as error:
            self.fail(f"{what} {error}.")
        if ndim is not None and numbers.ndim != ndim:
            self.fail(f"{what} should have {ndim} axes, but its shape is {tuple(numbers.shape)}.")
        return numbers

    def parts(self, value: object, *names: str) -> tuple:
        """The things that a function is to return together, e.g. `mean, std = trial.parts(got, "mean", "std")`.

        Whatever unpacks into them will do: a tuple, a list, a tensor or array with one row for each, a generator.
        """
        parts = _unpacked(value)
        if parts is None or len(parts) != len(names):
            self.fail(
                f"Return {len(names)} things, {', '.join(names)}, in this order; yours is {describe(value)}."
            )
        for name, part in zip(names, parts):
            self.expect(part is not None, f"The {name} that you return is None.")
        return parts

    def expect_shape(self, got: object, shape: Collection[int], message: str = "") -> None:
        """The shape must be this one; the learner is told both shapes."""
        got_shape, shape = tuple(self.tensor(got).shape), tuple(shape)
        if got_shape != shape:
            swapped = sorted(got_shape) == sorted(shape)
            order = " The axes are in another order." if swapped else ""
            self.fail(f"The shape should be {shape}, but yours is {got_shape}.{order} {message}")

    def is_close(
        self, got: object, other: object, *, rtol: float | None = None, scale: float = SCALE
    ) -> bool:
        """Whether the numbers agree as expect_close asks for; False where they cannot be compared."""
        try:
            numbers, others = self._fit(as_tensor(got), as_tensor(other))
        except Unreadable:
            return False
        rtol = rtol or tolerance(got, other)
        return numbers.shape == others.shape and _close(numbers, others, rtol, scale)

    def expect_close(
        self,
        got: object,
        want: object,
        message: str = "",
        *,
        also: Collection[object] = (),
        rtol: float | None = None,
        scale: float = SCALE,
        what: str = "Your answer",
    ) -> None:
        """The numbers must agree: same shape as `want`, finite where `want` is, and as close as their dtype allows.

        Tensors of any dtype and device, arrays, numbers and lists are all fine; one single number may have any shape.
        `rtol` is relative to the largest number wanted (default 1e-5, with float32 2e-4) or to `scale`, whichever is
        larger. `scale` is how large such numbers are where they are not small by chance, or because terms cancel: 1 for
        a correlation, log C for an entropy. `also` holds other answers that are as right: the standard deviation with
        the other divisor, the other sign of an eigenvector.
        """
        if any(self.is_close(got, other, rtol=rtol, scale=scale) for other in also):
            return
        numbers, wanted = self._fit(self.tensor(got, what), as_tensor(want))
        self.expect_shape(numbers, wanted.shape)
        broken = ~numbers.isfinite() & wanted.isfinite()
        if broken.any():
            kind = "NaN (not a number)" if numbers[broken].isnan().any() else "infinite"
            how_many = what if numbers.numel() == 1 else f"{int(broken.sum())} of {numbers.numel()} numbers"
            verb = "is" if int(broken.sum()) == 1 else "are"
            self.fail(
                f"{how_many} {verb} {kind}.",
                "Look for log(0), 0/0, the root of a negative number, a large exp.",
            )
        if not _close(numbers, wanted, rtol or tolerance(got, want), scale):
            self.fail(message or "The numbers differ from the reference.", _difference(numbers, wanted))

    def reject_mistakes(
        self,
        got: object,
        right: object,
        mistakes: Mapping[str, object],
        *,
        also: Collection[object] = (),
        rtol: float | None = None,
        scale: float = SCALE,
    ) -> None:
        """Names a known mistake: not yet, with the first message of `mistakes` whose numbers these are.

        Each message comes with the numbers that the mistake gives, or with a tuple of them where there are several ways
        to make it (a list is one way, as for `expect_close`). A mistake may happen to give the right numbers on the
        inputs drawn; so whatever agrees with `right` or with one of `also` is never refused here.
        """
        if any(self.is_close(got, one, rtol=rtol, scale=scale) for one in (right, *also)):
            return
        for message, mistaken in mistakes.items():
            ways = mistaken if isinstance(mistaken, tuple) else (mistaken,)
            if any(self.is_close(got, way, rtol=rtol, scale=scale) for way in ways):
                self.fail(message)

    def distinct(
        self,
        right: object,
        mistakes: Mapping[str, object],
        *,
        rtol: float | None = None,
        scale: float = SCALE,
    ) -> bool:
        """Whether no mistake of `reject_mistakes` gives the right numbers or those of another one, on these inputs.

        A check may draw again until it is so: then each mistake gets its own message at any seed.
        """
        groups = [(right,), *(ways if isinstance(ways, tuple) else (ways,) for ways in mistakes.values())]
        return not any(
            self.is_close(one, other, rtol=rtol, scale=scale)
            for first, second in itertools.combinations(groups, 2)
            for one in first
            for other in second
        )

    def judge(
        self,
        got: object,
        right: object,
        mistakes: Mapping[str, object],
        message: str = "",
        *,
        also: Collection[object] = (),
        rtol: float | None = None,
        scale: float = SCALE,
        what: str = "Your answer",
        part: bool = False,
    ) -> None:
        """The end of most checks: a known mistake is named, any other difference from the right numbers gets `message`.

        That is `reject_mistakes`, then `expect_close`; their docstrings say what the arguments may be. With `part` this
        is one of several things that are asked for, `what` is its name, and the trial goes on where it is wrong: every
        part that is right earns its share of the points. The learner is told what is wrong of the first that is.
        """
        try:
            self.reject_mistakes(got, right, mistakes, also=also, rtol=rtol, scale=scale)
            self.expect_close(got, right, message, also=also, rtol=rtol, scale=scale, what=what)
        except NotYet as problem:
            if not part:
                raise
            self.wrong.append(problem)
        else:
            self.right += [what] * part

    def unchanged_if_close(self, got: object, shipped: object, *, rtol: float | None = None) -> None:
        """For find the bug: not attempted as long as the code gives what the code as handed out gives."""
        if self.is_close(got, shipped, rtol=rtol):
            raise NotAttempted("It still does what the code as handed out does.")

    def expect_gradient(
        self, got: object, inputs: Collection[torch.Tensor], want: Collection[object], message: str
    ) -> None:
        """The sum of the answer, a tensor, must have the gradients `want` with respect to `inputs`."""
        self.expect(isinstance(got, torch.Tensor) and got.requires_grad, message)
        pulled = torch.autograd.grad(got.sum(), list(inputs), allow_unused=True)
        self.expect(all(gradient is not None for gradient in pulled), message)
        for gradient, wanted in zip(pulled, want, strict=True):
            self.expect_close(gradient, wanted, message, what="The gradient")

    def expect_mean(self, draws: object, want: object, message: str = "", *, sigmas: float = 5.0) -> None:
        """For random answers: the mean of independent draws (axis 0) must be within `sigmas` standard errors of `want`.

        For a variance pass `(draws - mean) ** 2`.
        """
        sample, wanted = self.tensor(draws), as_tensor(want)
        self.expect(
            sample.ndim > 0 and len(sample) > 1, "At least two draws are needed, along the first axis."
        )
        self.expect_shape(sample[0], wanted.shape, "That is the shape of one draw.")
        self.expect(sample.isfinite().all(), "Some draws are NaN or infinite.")
        mean = sample.mean(0)
        error = sample.std(0) / len(sample) ** 0.5 + 1e-12 * (1 + wanted.abs())
        off = float(((mean - wanted) / error).abs().max())
        if off > sigmas:
            facts = f"The mean of {len(sample)} draws is up to {off:.1f} standard errors off.\n"
            self.fail(
                message or "The draws have another mean than they should.", facts + _difference(mean, wanted)
            )

    def expect_number(
        self, got: object, want: float, message: str = "", *, rtol: float = 0.01, atol: float = 0.0
    ) -> None:
        """One number, right to a tolerance. Unlike expect_close it does not give the wanted number away."""
        number = self.tensor(got)
        if isinstance(got, bool) or number.numel() != 1 or not number.isfinite().all():
            self.fail(f"One finite number is asked for, but the answer is {describe(got)}.")
        if abs(float(number) - want) > rtol * abs(want) + atol:
            self.fail(message or "That is not the number.")

    def expect_choice(
        self, got: object, right: str | Collection[str], because: Mapping[str, str], message: str = ""
    ) -> None:
        """Multiple choice: `right` is one letter or a set of letters; `because` says of each wrong letter why not.

        For a set the answer may be any collection, or a text such as "a, c".
        """
        wanted = {right} if isinstance(right, str) else set(right)
        options = sorted(wanted | set(because))
        parts = got.replace(",", " ").split() if isinstance(got, str) else got
        if not isinstance(parts, (list, tuple, set, frozenset)):
            parts = ()
        chosen = {str(part).strip().lower() for part in parts}
        if not chosen or not chosen <= set(options) or (isinstance(right, str) and len(chosen) > 1):
            how_many = "one" if isinstance(right, str) else "some"
            listing = ", ".join(f'"{option}"' for option in options)
            self.fail(f"Answer with {how_many} of {listing}; the answer is {describe(got)}.")
        for letter in sorted(chosen - wanted):
            self.fail(because[letter])
        if chosen != wanted:
            self.fail(message or "What you chose is right, but something is missing.")

    @staticmethod
    def _fit(numbers: torch.Tensor, wanted: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if numbers.numel() == wanted.numel() == 1:
            numbers = numbers.reshape(wanted.shape)
        return numbers, wanted


def _unpacked(value: object) -> tuple | None:
    """What `a, b = value` would put into a and b; None where it makes no sense."""
    if isinstance(value, (torch.Tensor, np.ndarray)):
        return tuple(value) if value.ndim else None
    return tuple(value) if isinstance(value, (tuple, list, Iterator)) else None


def _close(numbers: torch.Tensor, wanted: torch.Tensor, rtol: float, scale: float = SCALE) -> bool:
    finite = wanted[wanted.isfinite()]
    largest = float(finite.abs().max()) if finite.numel() else 0.0
    return torch.allclose(numbers, wanted, rtol=0.0, atol=rtol * max(largest, scale), equal_nan=True)


def _difference(numbers: torch.Tensor, wanted: torch.Tensor) -> str:
    """The largest difference, and whether all numbers are off by one factor or one constant."""
    gap = torch.nan_to_num(numbers - wanted, nan=0.0).abs()
    worst = tuple(int(i) for i in np.unravel_index(int(gap.argmax()), gap.shape))
    place = f" at index {list(worst)}" if gap.ndim else ""
    facts = (
        f"Largest difference{place}: yours {float(numbers[worst]):.6g}, reference {float(wanted[worst]):.6g}."
    )
    if gap.numel() > 1 and wanted.isfinite().all():
        ratio, shift = (numbers * wanted).sum() / (wanted * wanted).sum(), (numbers - wanted).mean()
        if abs(ratio) > 1e-9 and abs(ratio - 1) > 1e-3 and _close(numbers, ratio * wanted, 1e-5):
            facts += f" All of yours are {float(ratio):.4g} times the reference."
        elif _close(numbers, wanted + shift, 1e-5):
            facts += f" All of yours are the reference {float(shift):+.4g}."
    scale = float(wanted.abs().max()) or 1.0
    if float(gap.max()) < 1e-3 * scale:
        facts += " That is close: does a step lose precision (float32), or is a small constant added?"
    return facts
