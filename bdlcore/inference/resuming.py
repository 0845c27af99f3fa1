"""Samplers that go on where a posterior stopped: what may be continued, and by whom."""

from __future__ import annotations

from dataclasses import fields, replace

import torch
from torch import Tensor

from ..models.model import Model
from .posterior import Posterior


def resumable(resume: Posterior, model: Model, method: str) -> Posterior:
    """The posterior, where this method made it and can continue it for this model."""
    if not isinstance(resume, Posterior) or resume.method != method or resume.random_state is None:
        raise ValueError(
            f"resume must be a posterior that {method.lower()} made, got "
            f"{getattr(resume, 'method', type(resume).__name__)}. Other methods, and files of older versions, do not "
            "keep what it takes to go on."
        )
    if resume.stack.layout != model.layout:
        raise ValueError(
            "resume belongs to another model: parameter names, shapes, prior means or stds differ."
        )
    return resume


def moved(resume: Posterior, device: torch.device) -> Posterior:
    """The same on a device: a file is read onto the CPU. Where generators are stays there."""
    tensors = {field.name: getattr(resume, field.name) for field in fields(resume)}
    tensors = {name: value.to(device) for name, value in tensors.items() if isinstance(value, Tensor)}
    kept = {"stack": resume.stack.to(device), "random_state": resume.random_state}
    return replace(resume, **tensors | kept)


def must_agree(resume: Posterior, log_density: Tensor) -> None:
    """Refuse to go on where the last draws have another log density (chains,) now: the target has changed."""
    before = resume.log_density[:, -1]
    if not torch.allclose(log_density, before, rtol=1e-3, atol=1e-2):
        worst = int((log_density - before).abs().argmax())
        raise ValueError(
            f"resume was drawn from another density: that of its last draw was {before[worst].item():.6g} in chain "
            f"{worst}, and is {log_density[worst].item():.6g} here. Give the same data, likelihood, temperatures and "
            "batch_size; or start a new run, with the last draws as `initial`."
        )


def must_be_as_before(made_with: dict, now: dict) -> None:
    """Refuse settings that a run cannot change on its way."""
    for name, value in now.items():
        if value != made_with[name]:
            was = "one function" if isinstance(made_with[name], list) else repr(made_with[name])
            what = "another function" if isinstance(value, list) else repr(value)
            raise ValueError(
                f"{name} cannot change where a run goes on: resume was made with {was}, got {what}. Give the same."
            )


def must_have_step_size(resume: Posterior, step_size: float | Tensor | None) -> None:
    """Refuse another step size than resume's, where one is given."""
    if step_size is None:
        return
    asked = torch.as_tensor(step_size).to(resume.step_size).expand(resume.chains)
    if not torch.allclose(asked, resume.step_size):
        raise ValueError(
            f"step_size cannot change where a run goes on: resume was made with {resume.step_size.tolist()}, got "
            f"{step_size}. Leave it out."
        )
