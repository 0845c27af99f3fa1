"""A function of several values, computed in several processes of this machine."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Callable, Iterable
from contextlib import redirect_stdout
from typing import NamedTuple, TypeVar

from .environment import workers
from .progress import progress

Value, Result = TypeVar("Value"), TypeVar("Result")


class _Made(NamedTuple):
    """What a process has to say: the result, what was printed, and warnings as (message, category, file, line)."""

    result: object
    printed: str
    warned: list[tuple[Warning, type[Warning], str, int]]


def side_by_side(function: Callable[[Value], Result], values: Iterable[Value]) -> list[Result]:
    """[function(value) for value in values], some at a time in processes of their own, as many as `workers()`.

    The processes stay for the next call. Functions and what they refer to are copied to them, those of a notebook
    too; what they print and warn of is said here, in order. Raises what a function raises, and RuntimeError where a
    process was ended from outside.
    """
    values = list(values)
    count = min(workers(), len(values))
    if count < 2:
        return [function(value) for value in values]
    from joblib import Parallel, delayed, parallel_config
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    results = []
    with parallel_config(backend="loky", n_jobs=count, inner_max_num_threads=1):
        made = Parallel(return_as="generator")(delayed(_call)(function, value) for value in values)
        try:
            for _, one in zip(progress(len(values), f"{count} processes"), made, strict=True):
                print(one.printed, end="")
                for message, category, file, line in one.warned:
                    warnings.warn_explicit(message, category, file, line)
                results.append(one.result)
        except TerminatedWorkerError as error:
            raise RuntimeError(
                "A process that shared this work was ended from outside, most likely for want of memory. Set the "
                "environment variable BDL_WORKERS=1 before the kernel starts, which takes less memory and longer."
            ) from error
    return results


def _call(function: Callable, value: object) -> _Made:
    """In one of the processes."""
    os.environ.update(BDL_WORKERS="1", BDL_PROGRESS="0")
    with redirect_stdout(io.StringIO()) as printed, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = function(value)
    return _Made(result, printed.getvalue(), [(w.message, w.category, w.filename, w.lineno) for w in caught])
