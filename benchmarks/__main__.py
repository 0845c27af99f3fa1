"""Run the benchmarks: `python -m benchmarks [SUITE ...] [--cores N] [--instructions avx2] [--quick]`.

Each suite and number of cores runs in a process of its own. On one core the clock is CPU time; on more it is wall
time, so leave the machine alone meanwhile. Results go to benchmarks/results/. Peers take part when they
are installed in the environment that runs this. With `--instructions avx2` a server's processor does without its
AVX-512, as those of most laptops have to; the results go to a folder of their own.
"""

from __future__ import annotations

import argparse
import importlib
import os
import subprocess
import sys
import time

SUITES = ("gradients", "samplers", "ensembles", "laplace", "trajectories", "last_layer", "startup", "nuts")
# what PyTorch (and torch.compile), oneMKL, oneDNN and JAX read, each for itself
INSTRUCTIONS = {
    "avx2": {
        "ATEN_CPU_CAPABILITY": "avx2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "XLA_FLAGS": "--xla_cpu_max_isa=AVX2",
    }
}


def main() -> None:
    """Parse the command line; run one suite here, or several in processes of their own."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.split("\n\n")[0])
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=f"of {', '.join(SUITES)}; all when none")
    parser.add_argument(
        "--cores", type=int, action="append", help="cores to use; 1 and then 2 when not given"
    )
    parser.add_argument(
        "--instructions", choices=INSTRUCTIONS, help="vector instructions to do with; all when not given"
    )
    parser.add_argument(
        "--quick", action="store_true", help="tiny sizes, to see that everything works; not stored"
    )
    arguments = parser.parse_args()
    suites, cores = arguments.suites or SUITES, arguments.cores or [1, 2]
    if unknown := set(suites) - set(SUITES):
        parser.error(f"unknown suite {', '.join(sorted(unknown))}; choose from {', '.join(SUITES)}")
    if len(suites) == len(cores) == 1:
        measure(suites[0], cores[0], arguments.instructions, arguments.quick)
        return
    options = ["--quick"] * arguments.quick
    if arguments.instructions:
        options += ["--instructions", arguments.instructions]
    for suite in suites:
        for count in cores:
            command = [sys.executable, "-m", "benchmarks", suite, "--cores", str(count), *options]
            subprocess.run(command, check=True)


def measure(suite: str, cores: int, instructions: str | None, quick: bool) -> None:
    """Run one suite in this process on the given number of cores, print its table and store it."""
    _use_cores(cores)
    os.environ.update(INSTRUCTIONS.get(instructions, {}))
    import bdlcore as bdl

    from . import report

    bdl.setup(threads=cores)  # as a notebook does, but for its single thread
    start = time.perf_counter()
    clock = time.process_time if cores == 1 else time.perf_counter
    result = importlib.import_module(f"benchmarks.{suite}").run(clock, quick)
    print(
        f"{result['title']}, {cores} core(s), measured in {time.perf_counter() - start:.0f} s\n\n{result['text']}\n"
    )
    if not quick:
        report.save(suite, cores, result)
        report.write_tables()


def _use_cores(cores: int) -> None:
    """Before torch or JAX are imported: both size their thread pools by what they find. No progress bars either."""
    os.environ.update(OMP_NUM_THREADS=str(cores), BDL_PROGRESS="0")
    if hasattr(os, "sched_setaffinity"):
        allowed = sorted(os.sched_getaffinity(0))
        if len(allowed) < cores:
            sys.exit(
                f"This process may use {len(allowed)} core(s), not {cores}. Pass --cores {len(allowed)}."
            )
        os.sched_setaffinity(0, allowed[-cores:])


if __name__ == "__main__":
    main()
