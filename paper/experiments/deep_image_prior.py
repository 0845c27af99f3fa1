"""The deep image prior's restorations of photos of 512 pixels (Ulyanov, Vedaldi & Lempitsky 2018)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

import bdlcore as bdl

from .. import inputs
from ..experiment import Experiment, Record, Settings, Table

NOISE_STD, FACTOR = 25 / 255, 4
JITTER_STD = {"denoise": 1 / 30, "fill in": 0.03, "enlarge": 0.03}  # theirs


def run(settings: Settings, cell: Mapping, device: torch.device) -> list[Record]:
    """PSNR of one fit as drawn, of its running average, and of the mean of two fits' averages."""
    seed, task = cell["seed"], cell["task"]
    size = None if settings["size"] == "whole" else settings["size"]
    clean = inputs.picture(cell["photo"], size, device)
    g = torch.Generator().manual_seed(seed)
    observed, mask, degrade = clean, None, None
    if task == "denoise":
        observed = clean + NOISE_STD * torch.randn(clean.shape, generator=g).to(device)
        simple = observed
    elif task == "fill in":
        mask = (torch.rand(clean.shape[1:], generator=g) < 0.5).to(device)
        observed = clean * mask
        simple = _blurred(observed) / _blurred(mask[None].to(clean)).clamp(min=1e-6)
    else:
        degrade = bdl.Downsample(FACTOR, "lanczos2")
        observed = degrade(clean[None])[0]
        simple = F.interpolate(observed[None], scale_factor=FACTOR, mode="bicubic", align_corners=False)[0]
    network = bdl.nets.hourglass(
        tuple(clean.shape), settings["channels"], skip=4, inputs=32, padding="reflect"
    )
    fit = bdl.deep_image_prior(
        observed,
        mask=mask,
        degrade=degrade,
        network=network,
        members=2,
        steps=settings["steps"],
        jitter_std=JITTER_STD[task],
        held_out=0.0,
        frames=1,
        autocast=torch.bfloat16 if device.type == "cuda" else None,
        seed=seed,
    )
    averages = fit.averages[-1]
    clean = clean.to(averages)
    return [
        {
            "task": task,
            "photo": cell["photo"],
            "simple": bdl.psnr(simple.to(clean), clean).item(),
            "drawn": bdl.psnr(fit.frames[-1], clean).mean().item(),
            "averaged": bdl.psnr(averages, clean).mean().item(),
            "two": bdl.psnr(averages.mean(0), clean).item(),
        }
    ]


def _blurred(picture: Tensor) -> Tensor:
    return bdl.corruptions.blur(picture[None], 1.0)[0]


EXPERIMENT = Experiment(
    name="deep_image_prior",
    lesson="07",
    question="How well does an untrained network restore a photo, stopped at the paper's step?",
    source="Ulyanov, Vedaldi and Lempitsky (2018)",
    published=(
        "Over nine colour photos with noise of std 25/255 they report 29.2 dB at a fixed step, 30.4 with a running "
        "average and 31.0 with the average of two runs; fourfold super-resolution 29.9 dB on five photos "
        "(bicubic 28.4); half the pixels missing, *Barbara* in grey, 32.2 dB."
    ),
    differences=(
        "One number of steps for all tasks, whitened weights with lr 0.1, and other photos: F16 is one of their nine "
        "and is read from BDL_DATA, the astronaut comes with scikit-image."
    ),
    sizes={
        "tiny": {
            "photos": ["coffee"], "size": 16, "tasks": ["denoise", "fill in", "enlarge"], "channels": [4, 4],
            "steps": 6, "seeds": [0],
        },
        "hour": {
            "photos": ["astronaut", "coffee", "chelsea"], "size": 96, "tasks": ["denoise", "fill in", "enlarge"],
            "channels": [32, 32, 32], "steps": 800, "seeds": [0],
        },
        "full": {
            "photos": ["astronaut", "F16"], "size": "whole", "tasks": ["denoise", "fill in", "enlarge"],
            "channels": [128, 128, 128, 128, 128], "steps": 3000, "seeds": [0, 1],
        },
    },
    grid={"photo": "photos", "task": "tasks", "seed": "seeds"},
    run=run,
    table=Table(
        rows=("task", "photo"),
        values={
            "simple": "noisy, blurred into holes, or bicubic: dB",
            "drawn": "as drawn",
            "averaged": "running average",
            "two": "average of two runs",
        },
    ),
    scaled={"steps": 4},
    kinds=("task",),
    paper={
        ("denoise", "F16"): "29.2, 30.4, 31.0 over nine photos",
    },
)  # fmt: skip
