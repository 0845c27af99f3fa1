"""The Adam that works on a whole stack, against torch's."""

import torch

from bdlcore._support.adam import Adam


def test_adam_equals_torch():
    g = torch.Generator().manual_seed(0)
    start = torch.randn(3, 4, generator=g)
    ours, theirs = start.clone(), start.clone().requires_grad_()
    adam, reference = Adam(ours), torch.optim.Adam([theirs], lr=0.1)
    for _ in range(20):
        gradient = torch.randn(3, 4, generator=g)
        adam.step(gradient, 0.1)
        theirs.grad = gradient.clone()
        reference.step()
    torch.testing.assert_close(ours, theirs.detach())
