"""Diversity of members against brute force and identities."""

import pytest
import torch

import bdlcore as bdl


@pytest.fixture
def members():
    g = torch.Generator().manual_seed(0)
    p = (2 * torch.randn(5, 40, 3, generator=g, dtype=torch.float64)).softmax(-1)
    return p, torch.randint(3, (40,), generator=g)


def test_disagreement_by_counting(members):
    p, _ = members
    labels = p.argmax(-1)
    got = bdl.disagreement(p)
    for i in range(5):
        for j in range(5):
            assert got[i, j].item() == pytest.approx((labels[i] != labels[j]).double().mean().item())
    torch.testing.assert_close(bdl.disagreement(p.log()), got)  # logits give the same labels


def test_error_products_by_loop(members):
    p, y = members
    got = bdl.error_products(p, y)
    for i in range(5):
        for j in range(5):
            products = [
                sum(
                    (p[i, n, c] - (y[n] == c).double()) * (p[j, n, c] - (y[n] == c).double())
                    for c in range(3)
                )
                for n in range(40)
            ]
            assert got[i, j].item() == pytest.approx(float(sum(products)) / 40)


def test_brier_score_of_the_average_is_the_mean_of_all_products(members):
    p, y = members
    error = p.mean(0) - torch.nn.functional.one_hot(y, 3)
    torch.testing.assert_close(bdl.error_products(p, y).mean(), error.square().sum(-1).mean())


def test_bad_members_are_refused(members):
    p, y = members
    with pytest.raises(ValueError, match="members, inputs, classes"):
        bdl.disagreement(p[0])
    with pytest.raises(ValueError, match="logits need softmax"):
        bdl.error_products(p.log(), y)
    with pytest.raises(ValueError, match="same length"):
        bdl.error_products(p, y[:-1])


def test_shares_of_many_inputs_are_counted(members):
    p, y = members
    many = p[:2].half().repeat(1, 2000, 1)
    labels = many.argmax(-1)
    assert bdl.disagreement(many)[0, 1] == (labels[0] != labels[1]).double().mean().float()
    a, b = bdl.error_products(many, y.repeat(2000)), bdl.error_products(many.double(), y.repeat(2000))
    torch.testing.assert_close(a.double(), b, rtol=1e-5, atol=0)


def test_what_is_no_tensor_is_named():
    with pytest.raises(ValueError, match=r"f must be a torch.Tensor of shape \(S, N, C\).*got list"):
        bdl.disagreement([[[0.5]]])
