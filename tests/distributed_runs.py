"""Runs that tests split over processes.

`distributed_runs.py FOLDER` makes them in processes that begin as copies of one, which saves the imports; and
`torchrun --nproc-per-node 2 distributed_runs.py FOLDER hmc` as a user would. What each process gets is saved in the
folder.
"""

import importlib
import os
import signal
import socket
import sys
from pathlib import Path

import torch

import bdlcore as bdl
import conftest

X = torch.linspace(-1, 1, 16, dtype=torch.float64)[:, None]
Y = (3 * X[:, 0]).sin()
MODEL = bdl.Model(bdl.nets.mlp(1, 5, 1), bdl.GaussianPrior(1.0), bdl.Gaussian(0.2))
BRIEF = {"initial_steps": 20}
COLD = torch.linspace(0.5, 1, 16, dtype=torch.float64)
OFTEN = {"save_every": 3, "rows_per_part": 2}
RUNS = {
    "hmc": (
        bdl.hmc,
        {"chains": 16, "draws": 12, "warmup": 12, "leapfrog_steps": 4, "temperature": COLD, **BRIEF},
    ),
    "sgld": (bdl.sgld, {"chains": 16, "draws": 12, "warmup": 8, "thinning": 2, "batch_size": 5, **BRIEF}),
    "sghmc": (
        bdl.sghmc,
        {"chains": 16, "draws": 12, "cycles": 3, "schedule": "cosine", "warmup": 4, "thinning": 1, **BRIEF},
    ),
    "mean_field_vi": (bdl.mean_field_vi, {"members": 16, "steps": 20, "draws": 3, **BRIEF}),
    "swag": (bdl.swag, {"members": 16, "draws": 3, "snapshots": 5, "initial_steps": 50}),
    "ensemble": (bdl.ensemble, {"members": 16, "steps": 30, "likelihood_temperature": COLD}),
    "laplace": (bdl.laplace, {"modes": 16, "steps": 50, "refine_steps": 20}),
}


def run(name, **more):
    """One of them, in parts of four rows unless another number is asked for."""
    method, settings = RUNS[name]
    return bdl.distributed(method, MODEL, X, Y, **{"rows_per_part": 4, **settings, **more})


def end_while_writing(count):
    """This process ends when half of its next file but `count - 1` is written."""
    import safetensors.torch

    save_file, left = safetensors.torch.save_file, [count]

    def save(tensors, path, metadata):
        save_file(tensors, path, metadata)
        left[0] -= 1
        if not left[0]:
            os.truncate(path, os.path.getsize(path) // 2)
            os.kill(os.getpid(), signal.SIGKILL)

    safetensors.torch.save_file = save


def work(folder, kind):
    """What one of several processes does."""
    rank = os.environ["RANK"]
    torch.set_num_threads(1)
    if kind == "all":
        for name in RUNS:
            run(name).save(folder / f"{name}-{rank}")
        return
    first = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") == "0"
    for name in ("ensemble", kind):
        if rank == "1" and first:
            end_while_writing(3 if name == kind else 99)
        run(name, folder=folder / name, **OFTEN).save(folder / f"{name}-{rank}")


def forked(count, *given):
    """The exit codes of so many processes that begin as copies of this one."""
    for module in ("safetensors.torch", "scipy.optimize", "torch.func", "tqdm.auto"):  # once for all of them
        importlib.import_module(module)
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    children = []
    for rank in range(count):
        child = os.fork()
        if not child:
            where = {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
            os.environ.update(where, RANK=str(rank), WORLD_SIZE=str(count))
            code = 1
            try:
                work(*given)
                code = 0
            except RuntimeError as error:
                print(f"Process {rank}: {error}", file=sys.stderr)
            finally:
                sys.stderr.flush()
                os._exit(code)
        children.append(child)
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


if __name__ == "__main__":
    folder, shift = Path(sys.argv[1]), int(os.environ.get("BDL_TEST_SHIFT") or 0)
    if shift:
        conftest.shift_seeds(conftest.STRIDE * shift)
    if "RANK" in os.environ:
        work(folder, sys.argv[2])
    else:
        print([forked(4, folder, "all"), forked(4, folder, "sgld"), forked(2, folder, "sghmc")])
