"""A device without float64, as Apple's GPUs are, on any machine: tensors that say they are elsewhere.

A `Remote` tensor computes on the CPU, but like one on another device it refuses to meet CPU tensors, and counts each
look at its values (`.item()`, `.cpu()`, `bool(...)`, `nonzero()`), for which a GPU would have to be waited for. Making
one in float64 raises.
"""

from contextlib import ExitStack

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map

DEVICE = torch.device(
    "lazy", 0
)  # a type of device without kernels of its own, whose backward passes run anywhere
aten = torch.ops.aten
LOOKS = {aten._local_scalar_dense.default, aten.nonzero.default, aten.equal.default, aten.is_nonzero.default}
COPIES = {aten._to_copy.default, aten.copy_.default}


class Remote(Tensor):
    inner: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor):
        if inner.dtype in (torch.float64, torch.complex128):
            raise TypeError("This device has no float64.")
        options = {"strides": inner.stride(), "storage_offset": inner.storage_offset(), "dtype": inner.dtype}
        remote = torch.Tensor._make_wrapper_subclass(cls, inner.shape, device=DEVICE, **options)
        remote.inner = inner
        return remote

    def __repr__(self):
        return f"Remote({self.inner})"

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return run(func, args, kwargs or {})


def run(func, args, kwargs):
    tensors = [value for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor)]
    remote = [value for value in tensors if isinstance(value, Remote)]
    local = [value for value in tensors if not isinstance(value, Remote)]
    asked = kwargs.get("device")
    there = bool(remote) if asked is None else torch.device(asked).type == DEVICE.type
    if func not in COPIES and there and any(value.ndim for value in local):
        raise RuntimeError(f"{func} was given tensors on the CPU and on the device.")
    if remote and (func in LOOKS or (func is aten._to_copy.default and not there)):
        Device.looks += 1
    if func is aten.copy_.default and isinstance(args[0], Remote) != isinstance(args[1], Remote):
        there, Device.looks = isinstance(args[0], Remote), Device.looks + (not isinstance(args[0], Remote))
    plain = {name: torch.device("cpu") if name == "device" else value for name, value in kwargs.items()}
    inner_args, inner_kwargs = tree_map(lambda v: v.inner if isinstance(v, Remote) else v, (args, plain))
    result = func(*inner_args, **inner_kwargs)
    if not there:
        return result
    result = tree_map(lambda v: Remote(v) if isinstance(v, Tensor) else v, result)
    return return_and_correct_aliasing(func, args, kwargs, result)


class _Dispatch(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return run(func, args, kwargs or {})


class _Functions(TorchFunctionMode):
    """`torch.tensor` and `torch.as_tensor` copy to their device before the dispatcher sees anything."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        device = kwargs.get("device")
        if func in (torch.tensor, torch.as_tensor) and device and torch.device(device).type == DEVICE.type:
            return func(*args, **kwargs | {"device": None}).to(DEVICE)
        if func is Tensor.tolist and isinstance(args[0], Remote):
            return args[0].cpu().tolist()
        return func(*args, **kwargs)


class Device:
    """Within it, `device=DEVICE` and `.to(DEVICE)` make `Remote` tensors; `looks` counts what a GPU would wait for."""

    looks = 0

    def __enter__(self):
        Device.looks = 0
        self.modes = ExitStack()
        self.modes.enter_context(_Dispatch())
        self.modes.enter_context(_Functions())
        return self

    def __exit__(self, *error):
        return self.modes.__exit__(*error)
