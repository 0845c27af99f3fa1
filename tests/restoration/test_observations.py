"""What does not fit is said before any step."""

import math

import pytest
import torch
from short_fits import SIZE, fit, uniform

import bdlcore as bdl

Y = uniform(*SIZE)
SEEN = torch.ones(8, 8, dtype=torch.bool)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"observed": Y.numpy()}, TypeError, "observed must be a torch.Tensor .* got ndarray"),
        ({"observed": Y.numpy(), "mask": SEEN}, TypeError, "observed must be a torch.Tensor"),
        ({"observed": (255 * Y).byte()}, TypeError, "observed must hold floating-point pixels .* divide by 255"),
        ({"observed": 255 * Y}, ValueError, r"observed must hold pixels of the scale \[0, 1\].* divide by 255"),
        ({"observed": Y / 255}, ValueError, "observed is almost black: .* divided by 255 twice"),
        ({"observed": torch.ones(SIZE) / 255}, ValueError, "observed is almost black: no pixel is beyond 0.0039"),
        ({"observed": Y.tolist()}, TypeError, "observed must be a torch.Tensor .* got list"),
        ({"jitter_std": torch.ones(2)}, ValueError, r"jitter_std must be one number, .* \(2,\)"),
        ({"averaging": "0.9"}, TypeError, "averaging must be a number"),
        ({"held_out": [0.1]}, TypeError, "held_out must be a number"),
        ({"lr": torch.ones(2)}, ValueError, "lr must be one number"),
        ({"on_step": 3}, TypeError, "on_step must be a function"),
        ({"observed": 2 * Y - 1}, ValueError, r"pixels in \[-1, 1\].* by \(observed \+ 1\) / 2"),
        ({"observed": Y[0]}, ValueError, r"observed must have shape .* got \(8, 8\)"),
        ({"observed": Y.permute(1, 2, 0)}, ValueError, r"Use .permute\(2, 0, 1\)"),
        ({"observed": Y[None, None]}, ValueError, r"observed must be \(channels, h, w\) or \(S, channels"),
        ({"observed": Y / 0}, ValueError, "observed contains 64 NaN or infinite"),
        ({"observed": Y[:, :0]}, ValueError, "observed is empty"),
        ({"observed": Y[:, :1, :1]}, ValueError, "1 of 1 pixels observed: nothing to fit"),
        ({"observed": Y[:, 2:]}, ValueError, r"draws pictures of shape \(1, 1, 8, 8\), .* shape \(1, 6, 8\)"),
        ({"observed": Y[:, :4], "network": None}, ValueError, "pictures of at least 5 pixels a side, got 4 x 8"),
        ({"mask": SEEN.float()}, TypeError, "mask must be a boolean .* got torch.float32"),
        ({"mask": [True]}, TypeError, "mask must be a boolean .* got list"),
        ({"mask": SEEN[None]}, ValueError, r"height and width of the observation, \(8, 8\), got \(1, 8, 8\)"),
        ({"mask": ~SEEN}, ValueError, "0 of 64 pixels observed: nothing to fit"),
        ({"members": 0}, ValueError, "members must be at least 1"),
        ({"members": 1.5}, TypeError, "members must be a whole number"),
        ({"members": range(0)}, ValueError, "members as a range must be non-empty"),
        ({"observed": Y.expand(2, *SIZE), "members": 3}, ValueError, "2 observations for 3 members"),
        ({"steps": 0}, ValueError, "steps must be at least 1"),
        ({"frames": 0}, ValueError, "frames must be at least 1"),
        ({"lr": 0.0}, ValueError, "lr must be positive"),
        ({"jitter_std": -0.1}, ValueError, "jitter_std must be at least 0 and finite, got -0.1"),
        ({"jitter_std": math.inf}, ValueError, "jitter_std must be at least 0 and finite"),
        ({"averaging": 1.0}, ValueError, "averaging must lie from 0 to below 1, got 1.0"),
        ({"held_out": 0.6}, ValueError, "held_out must lie from 0 to 0.5, got 0.6"),
        ({"held_out": math.nan}, ValueError, "held_out must lie from 0 to 0.5, got nan"),
        ({"seed": -1}, ValueError, "seed must be a non-negative integer"),
        ({"network": bdl.nets.mlp(2, 1)}, TypeError, "network must draw pictures, .* got MLP"),
        ({"degrade": 2}, TypeError, "degrade must be a function of pictures .* got 2"),
        ({"degrade": torch.exp, "network": None}, ValueError, "pass network=bdl.nets.hourglass"),
        ({"degrade": bdl.Downsample(2)}, ValueError, r"degradation turns into \(1, 1, 4, 4\), .* \(1, 8, 8\)"),
        ({"degrade": lambda p: p.mean(0), "members": 2}, ValueError, r"degradation turns into \(1, 8, 8\)"),
        ({"degrade": lambda p: [p]}, ValueError, "degradation turns into a list"),
        ({"penalty": 0.1}, TypeError, "penalty must be a function"),
        ({"penalty": torch.mean}, ValueError, r"one number for each picture: \(1, 1, 8, 8\) -> \(1,\), got \(\)"),
        ({"penalty": lambda p: p.mean((2, 3)), "members": 2}, ValueError, r"-> \(2,\), got \(2, 1\)"),
        ({"z": torch.zeros(1, 3, 8, 8)}, ValueError, r"z must have shape \(1, 2, 8, 8\), .* got \(1, 3, 8, 8\)"),
        ({"z": torch.zeros(2, 2, 8, 8), "members": 3}, ValueError, r"z must have shape \(3, 2, 8, 8\)"),
        ({"z": torch.zeros(1, 2, 8, 8).int()}, TypeError, "z must have a floating-point dtype"),
        ({"z": 0.0}, TypeError, "z must be a torch.Tensor"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named_before_any_step(arguments, error, message):
    def on_step(step, averages):
        raise AssertionError("a step was made")

    with pytest.raises(error, match=message):
        fit(**{"observed": Y, "on_step": on_step} | arguments)


def test_a_black_picture_is_one():
    assert fit(torch.zeros(SIZE), steps=2).loss.shape == (2, 1)
    assert fit(Y * (Y < 0.2), steps=2).loss.shape == (2, 1)
