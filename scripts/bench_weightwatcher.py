# /// script
# requires-python = ">=3.10"
# dependencies = [
#     "weightwatcher==0.7.7",
#     "torch==2.15.0",
#     "numpy==2.4.6",
#     "scipy==1.17.1",
#     "safetensors==0.8.0",
# ]
# ///
"""Time WeightWatcher and `spectral` on the same 49 matrices of GPT-2 small's shapes, in one run.

    cargo build --release -p spectral --bench gpt2_small
    uv run scripts/bench_weightwatcher.py target/release/deps/gpt2_small-*

BENCH is the binary of `crates/spectral/benches/gpt2_small.rs`; it writes the matrices (normal
entries, seeded) before anything is timed. Two analyses, each in a process of its own, in turn:

default   WeightWatcher's `analyze()`; ours in compat mode, and in strict mode
random    `analyze(mp_fit=True, randomize=True)`; ours with both

Seconds are of the analysis alone, imports and start excluded, the fastest of `--rounds`; CPU seconds
are of the whole process, for machines that do other work. Memory is the high-water mark of the
process; WeightWatcher's also of one that only imports it and loads the matrices. Both sides run on
`--threads` cores.
"""

import argparse
import contextlib
import io
import json
import os
import pathlib
import re
import resource
import subprocess
import sys
import tempfile
import time

OURS = re.compile(r"([\d.]+) s, (\d+) MiB")


def peak_mib(who=resource.RUSAGE_SELF):
    return resource.getrusage(who).ru_maxrss // 1024


def weightwatcher_alone(path, kind):
    """In a process of its own: seconds, CPU seconds, memory before and after."""
    import logging

    import numpy
    import weightwatcher
    from safetensors.numpy import load_file

    logging.disable(logging.CRITICAL)
    numpy.random.seed(0)
    watcher = weightwatcher.WeightWatcher(model=load_file(path))
    before = peak_mib()
    options = {"mp_fit": True, "randomize": True} if kind == "random" else {}
    with contextlib.redirect_stdout(io.StringIO()):
        start, cpu = time.perf_counter(), time.process_time()
        details = watcher.analyze(**options)
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    assert len(details) == 49
    print(json.dumps([seconds, cpu, before, peak_mib()]))


def run_weightwatcher(path, kind, threads):
    variables = {name: str(threads) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    command = [sys.executable, __file__, "--alone", kind, path]
    out = subprocess.run(
        command, env=os.environ | variables, check=True, stdout=subprocess.PIPE, text=True
    )
    return json.loads(out.stdout.splitlines()[-1])


def run_ours(bench, path, analysis, threads):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [bench, path, analysis, "--threads", str(threads)]
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    seconds, memory = OURS.search(out).groups()
    return [float(seconds), cpu, 0, int(memory)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bench", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--kinds", nargs="+", default=["default", "random"])
    arguments = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: arguments.threads])
    bench, threads = str(arguments.bench.resolve()), arguments.threads
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/weights.safetensors"
        run_ours(bench, path, "strict", threads)  # writes the matrices
        for kind in arguments.kinds:
            suffix = "+random" if kind == "random" else ""
            sides = {
                "weightwatcher": lambda: run_weightwatcher(path, kind, threads),
                "compat": lambda: run_ours(bench, path, f"compat{suffix}", threads),
                "strict": lambda: run_ours(bench, path, f"strict{suffix}", threads),
            }
            runs = {name: [] for name in sides}
            for _ in range(arguments.rounds):
                for name, side in sides.items():
                    runs[name].append(side())
            best = {name: [min(column) for column in zip(*rows)] for name, rows in runs.items()}
            reference = best["weightwatcher"]
            for name, (seconds, cpu, before, memory) in best.items():
                print(
                    f"{kind:8} {name:14} {seconds:8.2f} s ({reference[0] / seconds:5.1f}x)"
                    f" {cpu:8.2f} CPU s ({reference[1] / cpu:5.1f}x)"
                    f" {memory:5} MiB ({memory / reference[3]:.3f})"
                    + (f", {before} before" if before else "")
                )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--alone"]:
        weightwatcher_alone(sys.argv[3], sys.argv[2])
    else:
        main()
