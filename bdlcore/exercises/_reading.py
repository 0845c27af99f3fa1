"""Reading what a learner wrote: any sensible kind of number, and any exception.

Nothing here judges an answer. `as_tensor` accepts whatever could reasonably hold the numbers, `tolerance` says how
exact they can be, and `explain` turns an exception into a line of the learner's own code and a sentence that helps.
"""

from __future__ import annotations

import dis
import linecache
import numbers
import re
import sysconfig
import traceback
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

# relative tolerance by the least exact dtype that took part
TOLERANCE = {torch.float64: 1e-5, torch.float32: 2e-4, torch.float16: 2e-2, torch.bfloat16: 5e-2}

_LIBRARIES = tuple({str(Path(sysconfig.get_path(key))) for key in ("stdlib", "purelib", "platlib")})
_OWN = str(Path(__file__).resolve().parent.parent)

_ADVICE = (
    ("ellipsis", "A `...` is still in your code where a value is needed."),
    (
        "same dtype|scalar type|dtype",
        "Two dtypes meet: inputs may be float64, so make new tensors with `dtype=x.dtype`.",
    ),
    (
        "size of tensor|shape|broadcast|dimension",
        "Shapes do not fit: print the `.shape` of each thing in that line.",
    ),
    ("requires grad", "A gradient is tracked there: `.detach()` what only needs to be read."),
)
_ADVICE_BY_TYPE = {
    NameError: "A name is used that does not exist: a misspelling, or a cell above that has not been run?",
    ModuleNotFoundError: "The course needs no other package than those already imported.",
    IndexError: "An index or axis lies outside the tensor: print its `.shape` just before that line.",
    KeyError: "There is no such key: print `list(...)` of the mapping just before that line.",
    AttributeError: "That object has no such attribute: print its `type(...)` just before that line.",
    TypeError: "An operation or function got a kind of thing it does not take: print the `type(...)` of each.",
    ZeroDivisionError: "Something is divided by zero: can a count or a sum be empty there?",
    RecursionError: "The function calls itself without end.",
    AssertionError: "An assertion in the code failed: what does it promise?",
}


class Unreadable(ValueError):
    """The value cannot be read as numbers; the text says what it is instead."""


def describe(value: object) -> str:
    """What a value is, in a few words: `a tensor of shape (5, 3), float32`."""
    if isinstance(value, torch.Tensor):
        return f"a tensor of shape {tuple(value.shape)}, {str(value.dtype).removeprefix('torch.')}"
    if isinstance(value, np.ndarray):
        return f"a NumPy array of shape {value.shape}, {value.dtype}"
    if value is None or isinstance(value, (bool, numbers.Number)):
        return f"{value!r}" if value is None else f"the {type(value).__name__} {value!r}"
    if isinstance(value, str):
        return f"the text {value[:40]!r}"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if isinstance(value, (list, tuple, set, frozenset, Mapping)):
        return f"a {type(value).__name__} of {len(value)} item{'' if len(value) == 1 else 's'}"
    if callable(value):
        return f"the function `{getattr(value, '__name__', type(value).__name__)}`"
    return f"an object of type {type(value).__name__}"


def as_tensor(value: object) -> torch.Tensor:
    """Numbers as a detached float64 tensor on the CPU, whichever way they are held.

    Takes tensors of any real dtype and device, NumPy arrays and scalars, Python numbers, and (nested) lists or tuples
    of these. Raises `Unreadable` for anything else.
    """
    if isinstance(value, torch.Tensor):
        if value.is_complex():
            raise Unreadable(f"holds complex numbers: {describe(value)}")
        return value.detach().to("cpu", torch.float64)
    if isinstance(value, (np.ndarray, np.generic)):
        if value.dtype.kind not in "biuf":
            raise Unreadable(f"is {describe(np.asarray(value))}, not numbers")
        return torch.from_numpy(np.array(value, dtype=np.float64))
    if isinstance(value, numbers.Real):
        return torch.tensor(float(value), dtype=torch.float64)
    if isinstance(value, (list, tuple)) and value:
        parts = [as_tensor(item) for item in value]
        shapes = {tuple(part.shape) for part in parts}
        if len(shapes) > 1:
            raise Unreadable(f"is {describe(value)} with different shapes: {sorted(shapes)}")
        return torch.stack(parts)
    if value is None:
        raise Unreadable("is None: is a `return` missing?")
    if callable(value):
        raise Unreadable(f"is {describe(value)}: does it still have to be called?")
    raise Unreadable(f"is {describe(value)}, not numbers")


def tolerance(*values: object) -> float:
    """The relative tolerance that the least exact dtype among the values deserves."""
    return max((_tolerance(value) for value in values), default=TOLERANCE[torch.float64])


def _tolerance(value: object) -> float:
    if isinstance(value, (list, tuple)):
        return tolerance(*value)
    if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind == "f":
        value = torch.empty(
            0, dtype={2: torch.float16, 4: torch.float32}.get(value.dtype.itemsize, torch.float64)
        )
    return TOLERANCE.get(getattr(value, "dtype", None), TOLERANCE[torch.float64])


def holds_ellipsis(value: object) -> bool:
    """True for `...` and for a list, tuple or mapping that still has one in it."""
    if isinstance(value, Mapping):
        value = list(value.values())
    return value is ... or (isinstance(value, (list, tuple)) and any(item is ... for item in value))


def does_nothing(function: object) -> bool:
    """True for a function whose body is nothing but a docstring, `...`, `pass` or `return None`: an untouched stub."""
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    if code is None:
        return False
    idle = {"RESUME", "NOP", "CACHE", "COPY_FREE_VARS", "MAKE_CELL", "RETURN_VALUE"}
    steps = dis.get_instructions(code)
    return all(
        step.opname in idle or (step.opname.endswith("_CONST") and step.argval in (None, ...))
        for step in steps
    )


def raised_on_purpose(error: BaseException) -> bool:
    """Whether a `raise` statement raised this exception, and not an operation within a library's compiled code."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    line = linecache.getline(last.filename, last.lineno).strip()
    return not line or line.startswith("raise") or ": raise" in line


def explain(error: BaseException) -> tuple[str, str]:
    """An exception of the learner's code as (what happened and in which line, what to do about it)."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_learners(frame.filename)]
    kind = type(error).__name__
    where = ""
    if frames:
        line = linecache.getline(frames[-1].filename, frames[-1].lineno).strip()
        line = line if len(line) <= 100 else line[:99] + "…"
        where = f" in line {frames[-1].lineno} of its cell" + (f": `{line}`" if line else "")
    said = str(error).strip()[:300]
    a = "an" if kind[0] in "AEIOU" else "a"
    return f"Your code stopped with {a} {kind}{where}", "\n".join(filter(None, (said, _advice(error))))


def _is_learners(filename: str) -> bool:
    if filename.startswith("<frozen"):
        return False
    return not filename.startswith((*_LIBRARIES, _OWN))


def _advice(error: BaseException) -> str:
    text = str(error).lower()
    if isinstance(error, (RuntimeError, ValueError, TypeError)) and not isinstance(error, RecursionError):
        for pattern, advice in _ADVICE:
            if re.search(pattern, text):
                return advice
    for kind, advice in _ADVICE_BY_TYPE.items():
        if isinstance(error, kind):
            return advice
    return "Call your function in a new cell with small inputs to see the whole traceback."
