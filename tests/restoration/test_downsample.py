"""Down-sampling against average pooling, a plain double loop, and what a low-pass filter must do."""

import math

import pytest
import torch
import torch.nn.functional as F

import bdlcore as bdl

FACTORS = [2, 3, 4, 8]


def draws(*shape, seed=0):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def each(test):
    test = pytest.mark.parametrize("kernel", ["box", "lanczos2"])(test)
    return pytest.mark.parametrize("factor", FACTORS)(test)


@pytest.mark.parametrize("factor", FACTORS)
def test_box_is_average_pooling(factor):
    x = draws(2, 3, 2 * factor, 3 * factor)
    torch.testing.assert_close(bdl.Downsample(factor)(x), F.avg_pool2d(x, factor))


def weight(distance):
    """L(x) = sinc(x) sinc(x/2) for |x| < 2."""
    if distance == 0 or abs(distance) >= 2:
        return float(distance == 0)
    u = math.pi * distance
    return math.sin(u) / u * math.sin(u / 2) / (u / 2)


@pytest.mark.parametrize("factor", FACTORS)
def test_lanczos2_equals_a_sum_over_all_pixels(factor):
    """Small pixel i lies at (i + 1/2) factor - 1/2; beyond the border the edge is repeated."""
    x = draws(3 * factor)
    small = []
    for i in range(3):
        places = range(-3 * factor, 6 * factor)
        weights = [weight((place - ((i + 0.5) * factor - 0.5)) / factor) for place in places]
        values = [float(x[min(max(place, 0), 3 * factor - 1)]) for place in places]
        small.append(sum(w * v for w, v in zip(weights, values)) / sum(weights))
    want = torch.tensor(small, dtype=x.dtype)
    down = bdl.Downsample(factor, "lanczos2")
    rows = down(x[None, None, :, None].expand(2, 3, -1, 2 * factor))
    torch.testing.assert_close(rows, want[:, None].expand(2, 3, 3, 2))
    columns = down(x[None, None, None].expand(2, 3, 2 * factor, -1))
    torch.testing.assert_close(columns, want.expand(2, 3, 2, 3))


@each
def test_a_constant_picture_stays_constant(factor, kernel):
    down = bdl.Downsample(factor, kernel)
    assert down.taps.sum().item() == pytest.approx(1, abs=1e-14)
    torch.testing.assert_close(down.taps, down.taps.flip(0))
    levels = torch.tensor([[0.2, 0.5, 0.9]], dtype=torch.float64)[..., None, None]
    torch.testing.assert_close(
        down(levels.expand(1, 3, 2 * factor, factor)), levels.expand(1, 3, 2, 1), rtol=0, atol=1e-14
    )


@each
def test_it_commutes_with_flips_and_turns(factor, kernel):
    down, x = bdl.Downsample(factor, kernel), draws(2, 3, 2 * factor, 3 * factor)
    torch.testing.assert_close(down(x.flip(3)), down(x).flip(3))
    torch.testing.assert_close(down(x.mT), down(x).mT)


@each
def test_it_is_linear_and_autograd_gives_its_adjoint(factor, kernel):
    down = bdl.Downsample(factor, kernel)
    x, x2 = draws(2, 3, 2 * factor, 2 * factor), draws(2, 3, 2 * factor, 2 * factor, seed=1)
    torch.testing.assert_close(down(2 * x - 3 * x2), 2 * down(x) - 3 * down(x2))
    y = draws(2, 3, 2, 2, seed=2)
    free = torch.zeros_like(x, requires_grad=True)
    (adjoint,) = torch.autograd.grad(down(free), free, y)
    torch.testing.assert_close((down(x) * y).sum(), (x * adjoint).sum())


def kept(kernel, factor, cycles):
    """What is left of the amplitude of a wave of so many cycles per small pixel, away from the border."""
    place = (torch.arange(40 * factor, dtype=torch.float64) + 0.5) / factor
    small = torch.arange(40, dtype=torch.float64) + 0.5
    response = 0
    for wave in (torch.cos, torch.sin):
        picture = wave(2 * math.pi * cycles * place).expand(1, 1, factor, -1)
        seen = bdl.Downsample(factor, kernel)(picture)[0, 0, 0]
        response = response + (seen * wave(2 * math.pi * cycles * small))[5:-5]
    return response.abs().mean().item()  # a filter keeps cos² + sin² times its gain at this frequency


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_slow_waves_stay_and_fast_ones_go(factor):
    """Waves beyond half a cycle per small pixel come back as false slow ones; lanczos2 lets through less of them."""
    for cycles in (0.05, 0.1, 0.2, 0.8, 0.9):
        gain = math.sin(math.pi * cycles) / (factor * math.sin(math.pi * cycles / factor))
        assert kept("box", factor, cycles) == pytest.approx(gain)
        if cycles <= 0.1:
            assert gain < 0.997 < kept("lanczos2", factor, cycles) <= 1
        elif cycles >= 0.8:
            assert kept("lanczos2", factor, cycles) < 0.015 and gain > 0.1


def test_dtype_follows_the_pictures():
    x = draws(1, 1, 8, 8)
    for kernel in ("box", "lanczos2"):
        small = bdl.Downsample(4, kernel)(x.float())
        assert small.dtype == torch.float32
        torch.testing.assert_close(small.double(), bdl.Downsample(4, kernel)(x), rtol=0, atol=1e-6)


def test_its_name_says_what_it_does():
    assert repr(bdl.Downsample(4, "lanczos2")) == "Downsample(4, 'lanczos2')"
    assert bdl.Downsample(4).factor == 4


def test_what_does_not_fit_is_named():
    down = bdl.Downsample(4)
    for x in (torch.zeros(1, 3, 8, 10), torch.zeros(1, 3, 9, 8), torch.zeros(3, 8, 8)):
        with pytest.raises(ValueError, match=r"by 4 needs images .* multiples of it, got \("):
            down(x)
    for bad in (torch.zeros(1, 3, 8, 8).numpy(), [[0.0]], torch.zeros(1, 3, 8, 8).int()):
        with pytest.raises(TypeError, match="^images must"):
            down(bad)
    with pytest.raises(ValueError, match="factor must be at least 2, got 1"):
        bdl.Downsample(1)
    with pytest.raises(TypeError, match="factor must be a whole number, got 2.0"):
        bdl.Downsample(2.0)
    with pytest.raises(ValueError, match="Unknown kernel 'cubic'; choose one of box, lanczos2"):
        bdl.Downsample(2, "cubic")
