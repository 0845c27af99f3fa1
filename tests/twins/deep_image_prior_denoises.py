"""Gain in dB, of a photo with noise of std 0.1, by a network that has seen nothing else and stops by itself.

A small hourglass in plain PyTorch (three scales, 32 filters, batch normalisation, nearest up-sampling), fed with fixed
noise; Adam; a tenth of the pixels is kept out of the loss and chooses the step. The running average of its outputs is
the picture. One photo of scikit-image a seed, 64 pixels wide.
"""

import numpy as np
import torch
from skimage import data
from skimage.transform import resize
from torch import nn

PHOTOS = "astronaut", "coffee", "chelsea", "rocket", "cat", "colorwheel"
STEPS, VALUES = 600, 6


def block(n_in, stride=1):
    return nn.Sequential(
        nn.Conv2d(n_in, 32, 3, stride, 1, padding_mode="reflect"), nn.BatchNorm2d(32), nn.LeakyReLU(0.2)
    )


def value(seed):
    torch.manual_seed(seed)
    photo = getattr(data, PHOTOS[seed % len(PHOTOS)])()[..., :3]
    side = min(photo.shape[:2])
    top, left = (photo.shape[0] - side) // 2, (photo.shape[1] - side) // 2
    clean = resize(photo[top : top + side, left : left + side], (64, 64), anti_aliasing=True)
    clean = torch.tensor(np.moveaxis(clean, 2, 0), dtype=torch.float32)[None]
    noisy = clean + 0.1 * torch.randn_like(clean)
    held = torch.rand(1, 1, 64, 64) < 0.1
    up = nn.Upsample(scale_factor=2)
    down = [block(16, 2), block(32), block(32, 2), block(32), block(32, 2), block(32)]
    net = nn.Sequential(*down, up, block(32), up, block(32), up, block(32), nn.Conv2d(32, 3, 1), nn.Sigmoid())
    start = 0.1 * torch.rand(1, 16, 64, 64)
    adam, average, best = torch.optim.Adam(net.parameters(), 0.01), None, (np.inf, None)
    for _ in range(STEPS):
        out = net(start + 0.03 * torch.randn_like(start))
        loss = ((out - noisy).square() * ~held).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
        average = out.detach() if average is None else 0.97 * average + 0.03 * out.detach()
        error = ((average - noisy).square() * held).sum().item()
        if error < best[0]:
            best = error, average.clone()
    before, after = ((picture - clean).square().mean().item() for picture in (noisy, best[1]))
    return 10 * np.log10(before / after)
