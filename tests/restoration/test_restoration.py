"""A restoration against the pictures and errors of its members."""

import pytest
import torch
from short_fits import SIZE, fit, uniform

import bdlcore as bdl


@pytest.fixture
def observed():
    return uniform(*SIZE)


def test_quality_against_a_clean_picture(observed):
    clean, where = uniform(*SIZE, seed=8), torch.ones(8, 8, dtype=torch.bool).tril()
    r = fit(observed, members=2, steps=12, frames=6)
    torch.testing.assert_close(r.psnr(clean), bdl.psnr(r.averages, clean))
    assert r.psnr(clean).shape == (6, 2)
    torch.testing.assert_close(r.psnr(clean, averaged=False), bdl.psnr(r.frames, clean))
    torch.testing.assert_close(r.psnr(clean, where=where), bdl.psnr(r.averages, clean, where))
    torch.testing.assert_close(r.psnr(clean.float()), r.psnr(clean), rtol=0, atol=1e-4)
    each = torch.stack([clean, 1 - clean])
    torch.testing.assert_close(r.psnr(each)[:, 1], r.psnr(1 - clean)[:, 1])
    for region in (None, where):
        best, step = r.oracle(clean, region)
        decibels = r.psnr(clean, where=region)
        assert torch.equal(best, decibels.amax(0)) and torch.equal(step, r.steps[decibels.argmax(0)])
    with pytest.raises(TypeError, match="clean must be a torch.Tensor"):
        r.psnr(clean.numpy())
    with pytest.raises(ValueError, match="different shapes"):
        r.psnr(clean[:, 1:])


def test_members_together(observed):
    r = fit(observed, members=3)
    torch.testing.assert_close(r.image, sum(r.chosen) / 3)
    torch.testing.assert_close(r.std, (((r.chosen - r.image) ** 2).sum(0) / 2).sqrt())
    one = fit(observed)
    assert torch.equal(one.image, one.chosen[0])
    with pytest.raises(ValueError, match="at least two"):
        one.std  # noqa: B018


def test_a_restoration_in_one_line(observed):
    r = fit(observed, members=2, held_out=0)
    assert len(r) == 2 and r.seconds > 0
    assert repr(r).startswith("Restoration(2 members; 8 steps, chosen step 8; final loss 0.")
    r = fit(observed, members=4, steps=40, held_out=0.3)
    first, last = r.chosen_step.min().item(), r.chosen_step.max().item()
    assert f"40 steps, chosen step {first} to {last}; " in repr(r)
