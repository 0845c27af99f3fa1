"""Generators of pictures against PyTorch's own layers, one setting of the weights at a time, and as models."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import bdlcore as bdl
from bdlcore.nets.generators import Hourglass, Pixels, hourglass, paper_hourglass

HOURGLASSES = {
    "plain": lambda: hourglass((3, 16, 12), (4, 6), inputs=3),
    "skips": lambda: hourglass((3, 16, 12), (4, 6), skip=2, inputs=3),
    "odd sizes": lambda: hourglass((1, 13, 10), (3, 4, 5), inputs=2),
    "odd sizes, skips": lambda: hourglass((1, 13, 11), (3, 4, 5), 1, 2),
    "as small as it gets": lambda: hourglass((1, 5, 5), (2, 2), 1, 2, padding="reflect"),
    "reflection": lambda: hourglass((3, 16, 12), (4,), 2, 3, padding="reflect"),
    "nearest": lambda: hourglass((3, 15, 12), (4, 6), inputs=3, upsampling="nearest"),
    "wide": lambda: hourglass((1, 300, 6), (2,), inputs=1),  # upsampled by PyTorch, not by matrices
    "without pointwise": lambda: hourglass((3, 16, 12), (4, 6), inputs=3, pointwise=False),
    "all at once": lambda: hourglass(
        (2, 11, 16), (4, 3), 2, 3, padding="reflect", upsampling="nearest", pointwise=False
    ),
}


def draws(*shape, seed=0):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(params=HOURGLASSES, ids=str)
def network(request):
    return HOURGLASSES[request.param]()


def setting(network, S, seed=0):
    """Weights (S, D) and inputs (S, inputs, H, W)."""
    D = sum(p.numel() for p in network.parameters())
    return 0.4 * draws(S, D, seed=seed), draws(S, network.inputs, *network.image[1:], seed=seed + 1)


def drawn(network, weights, z):
    """The picture of one setting (D,) and one z (inputs, H, W), layer after layer as the docstring says it."""
    position = 0

    def take(*shape):
        nonlocal position
        part = weights[position : position + torch.Size(shape).numel()]
        position += part.numel()
        return part.reshape(shape)

    def layer(h, out, side=3, stride=1):
        kernel, bias = take(out, h.shape[1], side, side), take(out, 1, 1)
        mode = "reflect" if network.padding == "reflect" else "constant"
        h = F.conv2d(F.pad(h, [side // 2] * 4, mode=mode) if side > 1 else h, kernel, stride=stride)
        return nn.LeakyReLU(0.2)(nn.InstanceNorm2d(out, affine=False)(h) + bias)

    h, kept = z[None], []
    for width in network.channels:
        kept.append(h[:, :0] if network.skip == 0 else layer(h, network.skip, side=1))
        h = layer(layer(h, width, stride=2), width)
    for width in reversed(network.channels):
        skipped = kept.pop()
        h = nn.Upsample(skipped.shape[2:], mode=network.upsampling)(h)
        h = layer(torch.cat([h, skipped], 1), width)
        h = layer(h, width, side=1) if network.pointwise else h
    picture = F.conv2d(h, take(network.image[0], h.shape[1], 1, 1), take(network.image[0]))
    assert position == len(weights)
    return torch.sigmoid(picture)[0]


def test_images_equal_pytorchs_layers(network):
    weights, z = setting(network, 4)
    images = network.images(weights, z)
    assert images.shape == (4, *network.image)
    want = torch.stack([drawn(network, *row) for row in zip(weights, z)])
    torch.testing.assert_close(images, want, rtol=0, atol=1e-10)
    shared = torch.stack([drawn(network, w, z[1]) for w in weights])
    torch.testing.assert_close(network.images(weights, z[1:2]), shared, rtol=0, atol=1e-10)


def test_gradients_equal_pytorchs_layers(network):
    weights, z = setting(network, 3)
    slope = draws(3, *network.image, seed=7)
    stacked, single = weights.clone().requires_grad_(), weights.clone().requires_grad_()
    (got,) = torch.autograd.grad((network.images(stacked, z) * slope).sum(), stacked)
    pictures = [drawn(network, *row) for row in zip(single, z)]
    (want,) = torch.autograd.grad((torch.stack(pictures) * slope).sum(), single)
    torch.testing.assert_close(got, want, rtol=1e-8, atol=1e-10)


def test_a_stack_draws_what_its_rows_draw_alone(network):
    weights, z = setting(network, 3)
    alone = torch.cat([network.images(weights[i : i + 1], z[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(network.images(weights, z), alone, rtol=0, atol=1e-12)
    single = network.images(weights.float(), z.float())
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), alone, rtol=0, atol=1e-4)


def test_forward_uses_the_modules_own_weights(network):
    network = network.double()
    own = torch.cat([p.detach().flatten() for p in network.parameters()])
    _, z = setting(network, 1)
    torch.testing.assert_close(network(z)[0], drawn(network, own, z[0]), rtol=0, atol=1e-10)


def test_a_model_has_its_weights_in_the_same_order(network):
    model = bdl.Model(network, bdl.GaussianPrior(1.4, 0.1, fan_in=True), bdl.Gaussian(0.1))
    stack = model.sample_prior(2, seed=3, dtype=torch.float64)
    _, z = setting(network, 1)
    network.double().load_state_dict(stack.state_dicts()[1])
    torch.testing.assert_close(
        model.functions(stack, z)[1], network(z).flatten(1).detach(), rtol=0, atol=1e-12
    )


def test_the_papers_network():
    """Its notebooks count 2,217,831 parameters, with scale and shift of BatchNorm after every layer."""
    network = paper_hourglass((3, 64, 64))
    kernels = [tuple(p.shape[:2]) for p in network.parameters() if p.ndim > 1]
    down = [[(4, below), (128, below), (128, 128)] for below in (32, 128, 128, 128, 128)]
    assert kernels == [*sum(down, []), *[(128, 132), (128, 128)] * 5, (3, 128)]
    batchnorm = 5 * 2 * (4 + 128 + 128 + 132 + 128 + 128)
    assert sum(p.numel() for p in network.parameters()) + batchnorm == 2_217_831
    assert (network.padding, network.upsampling, network.inputs) == ("reflect", "bilinear", 32)
    assert paper_hourglass().image == (3, 512, 512)


def test_pixels_are_their_weights():
    network = Pixels((3, 4, 5))
    weights = draws(2, 60)
    images = network.images(weights, network.noise(range(2), 0))
    torch.testing.assert_close(images, 0.5 + weights.reshape(2, 3, 4, 5), rtol=0, atol=0)
    torch.testing.assert_close(network(torch.zeros(1, 1, 4, 5)), torch.full((1, 3, 4, 5), 0.5))


def test_noise_does_not_depend_on_its_company():
    network = hourglass((3, 8, 9), (4,), inputs=5)
    z = network.noise(range(6), 3)
    assert z.shape == (6, 5, 8, 9) and z.dtype == torch.float32
    assert 0 <= z.min() < 0.001 and 0.099 < z.max() <= 0.1
    assert z.mean().item() == pytest.approx(0.05, abs=0.0035)  # standard error 0.0006
    assert torch.equal(network.noise(range(4, 6), 3), z[4:])
    assert not torch.equal(z[0], z[1]) and not torch.equal(network.noise(range(6), 4), z)
    assert torch.equal(network.noise(range(2), 3, dtype=torch.float64), z[:2].double())
    whole, part = (network.noise(rows, torch.Generator().manual_seed(1)) for rows in (range(4), range(2, 4)))
    assert torch.equal(part, whole[2:])


# --- as the network of a model ---


def halved(images):
    return F.avg_pool2d(images, 2)


@pytest.fixture(params=[None, halved], ids=["as they are", "halved"])
def observing(request):
    """A generator in a model, its z, and an observation as one flat row."""
    network, degrade = hourglass((1, 8, 8), (3,), 1, 2), request.param
    prior = bdl.GaussianPrior(1.4, 0.1, fan_in=True)
    model = bdl.Model(network.seen_through(degrade), prior, bdl.Gaussian(0.2))
    z = network.noise(range(1), 0, dtype=torch.float64)
    y = torch.rand(
        1, 64 if degrade is None else 16, dtype=z.dtype, generator=torch.Generator().manual_seed(5)
    )
    return model, z, y, degrade


def test_log_joint_of_an_observation(observing):
    model, z, y, degrade = observing
    stack = model.sample_prior(3, seed=0, dtype=z.dtype)
    for theta, weights, got in zip(stack.theta, stack.weights, model.log_joint(stack.theta, z, y)):
        picture = drawn(model.network, weights, z[0])[None]
        seen = picture if degrade is None else degrade(picture)
        likelihood = torch.distributions.Normal(seen.flatten(), 0.2).log_prob(y[0]).sum()
        prior = torch.distributions.Normal(0.0, 1.0).log_prob(theta).sum()
        torch.testing.assert_close(got, likelihood + prior)


def test_samplers_and_ensembles_take_it(observing):
    model, z, y, _ = observing
    run = {"initial_steps": 2, "seed": 0}
    posteriors = [
        bdl.hmc(model, z, y, chains=2, draws=2, warmup=0, leapfrog_steps=2, step_size=0.01, **run),
        bdl.sgld(model, z, y, chains=2, draws=2, warmup=0, thinning=1, step_size=1e-4, **run),
        bdl.sghmc(model, z, y, chains=2, draws=2, warmup=0, thinning=1, step_size=1e-3, **run),
        bdl.ensemble(model, z, y, members=4, steps=2),
    ]
    for posterior in posteriors:
        assert model.functions(posterior.stack, z).shape == (4, 1, y.shape[1])
        assert model.network.images(posterior.stack.weights, z).shape == (4, 1, 8, 8)
        assert torch.isfinite(posterior.stack.theta).all()


def test_a_degradation_leaves_the_generator_alone():
    """A module as degradation brings no weights of its own into the posterior."""
    network = hourglass((1, 8, 8), (3,), inputs=2)
    names = [name for name, _ in network.named_parameters()]
    blur = nn.Conv2d(1, 1, 3)
    seen = network.seen_through(blur)
    assert [name for name, _ in seen.named_parameters()] == names
    assert [name for name, _ in network.named_parameters()] == names
    weights, z = setting(network, 2)
    weights, z = weights.float(), z[:1].float()
    images = network.images(weights, z)
    torch.testing.assert_close(seen.forward_stack(weights, z)[:, 0], blur(images).flatten(1))
    for untouched in (network, seen.seen_through(None)):
        torch.testing.assert_close(untouched.forward_stack(weights, z)[:, 0], images.flatten(1))


# --- what does not fit ---


def test_a_model_refuses_the_wrong_z(observing):
    model, z, y, _ = observing
    for wrong in (z[:, :1], z[..., :-1], z.expand(2, -1, -1, -1), z[0]):
        with pytest.raises(ValueError, match=r"takes z of shape \(1, 2, 8, 8\), got x of shape"):
            bdl.LogPosterior(model, wrong, y)
    with pytest.raises(ValueError, match=rf"y must have shape \(N, {y.shape[1]}\)"):
        bdl.LogPosterior(model, z, y[:, 1:])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"image": (3, 4, 64)},
            ValueError,
            "2 halvings need pictures of at least 5 pixels a side, got 4 x 64",
        ),
        ({"channels": ()}, ValueError, "at least one scale"),
        ({"channels": (4, 0)}, ValueError, "channels must be at least 1, got 0"),
        ({"image": (64, 64)}, ValueError, r"image must be \(channels, height, width\), got \(64, 64\)"),
        ({"image": (3, 16, 16.0)}, TypeError, "image must be a whole number, got 16.0"),
        ({"skip": -1}, ValueError, "skip must be at least 0"),
        ({"inputs": 0}, ValueError, "inputs must be at least 1"),
        ({"padding": "circular"}, ValueError, "Unknown padding 'circular'; choose one of zeros, reflect"),
        ({"upsampling": "cubic"}, ValueError, "Unknown upsampling 'cubic'; choose one of bilinear, nearest"),
    ],
)
def test_bad_sizes_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        Hourglass(**arguments)
    with pytest.raises(error, match=message):
        bdl.nets.hourglass(**arguments)


def test_pixels_need_a_size():
    with pytest.raises(ValueError, match="image must be at least 1, got 0"):
        Pixels((3, 0, 4))
