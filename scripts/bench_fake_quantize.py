# /// script
# requires-python = ">=3.10"
# dependencies = ["torch==2.15.0", "numpy==2.4.6"]
# ///
"""Time the fake quantisation of a 768 x 3072 float32 matrix in PyTorch and NumPy, ours beside it.

    uv run scripts/bench_fake_quantize.py                                    # without ours
    uv run scripts/bench_fake_quantize.py \\
        --ours 'cargo bench -q -p quantizers --bench fake_quantize'          # with ours, in turn

Symmetric, 4 bits, one scale an output channel, which is axis 1 of `[d_in, d_out]`: codes -7 to 7.

given   values to values with the scales at hand: `torch.fake_quantize_per_channel_affine`, which
        computes its mask in the same pass; the same written with PyTorch's and NumPy's elementwise
        functions, in place after the first; ours
fitted  the same, and before it the scales from the largest magnitude of every channel

COMMAND is the bench of the crate. Its output is read: the time of a copy for each number of threads,
and the line of `symmetric 4, channel:1` in units of it. Every side runs `--rounds` times, in rotation; times are the fastest.
GB/s count each float once read and once written, whatever a method does.
"""

import argparse
import os
import platform
import re
import shlex
import subprocess
import time
from collections.abc import Callable

import numpy
import torch

SHAPE = (768, 3072)
GREATEST = 7
BYTES = 2 * 4 * SHAPE[0] * SHAPE[1]
COPY = re.compile(r"^(\d+) threads: copy on one of them ([\d.]+) ms")
OURS = re.compile(
    r"^symmetric 4, channel:1\s+fit\s+[\d.]+\s+fake_quantize\s+([\d.]+)\s+both\s+([\d.]+)"
)

Times = dict[tuple[str, str, int], float]  # seconds by task, side and threads


def fastest(run: Callable[[], object], turns: int) -> float:
    run()
    best = float("inf")
    for _ in range(turns):
        start = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - start)
    return best


def torch_times(x: torch.Tensor, threads: int, turns: int) -> Times:
    torch.set_num_threads(threads)
    zero_points = torch.zeros(SHAPE[1], dtype=torch.int32)

    def scales() -> torch.Tensor:
        return x.abs().amax(0) / GREATEST

    def fake_quantize(s: torch.Tensor) -> torch.Tensor:
        return torch.fake_quantize_per_channel_affine(x, s, zero_points, 1, -GREATEST, GREATEST)

    def elementwise(s: torch.Tensor) -> torch.Tensor:
        return x.div(s).round_().clamp_(-GREATEST, GREATEST).mul_(s)

    s, times = scales(), {}
    assert (fake_quantize(s) - elementwise(s)).abs().max() <= 1.001 * s.max()
    for name, quantize in [("torch fake_quantize", fake_quantize), ("torch ops", elementwise)]:
        times["given", name, threads] = fastest(lambda q=quantize: q(s), turns)
        times["fitted", name, threads] = fastest(lambda q=quantize: q(scales()), turns)
    return times


def numpy_times(x: numpy.ndarray, turns: int) -> Times:
    out = numpy.empty_like(x)

    def scales() -> numpy.ndarray:
        return numpy.abs(x, out=out).max(0) / numpy.float32(GREATEST)

    def quantize(s: numpy.ndarray) -> None:
        numpy.divide(x, s, out=out)
        numpy.rint(out, out=out)
        numpy.clip(out, -GREATEST, GREATEST, out=out)
        numpy.multiply(out, s, out=out)

    s = scales()
    return {
        ("copy", "numpy", 1): fastest(lambda: numpy.copyto(out, x), turns),
        ("given", "numpy", 1): fastest(lambda: quantize(s), turns),
        ("fitted", "numpy", 1): fastest(lambda: quantize(scales()), turns),
    }


def our_times(command: str) -> Times:
    run = subprocess.run(shlex.split(command), stdout=subprocess.PIPE, text=True, check=True)
    times: Times = {}
    threads, copy = 0, 0.0
    for line in run.stdout.splitlines():
        if found := COPY.match(line):
            threads, copy = int(found[1]), 1e-3 * float(found[2])
            times["copy", "ours", 1] = min(copy, times.get(("copy", "ours", 1), copy))
        elif found := OURS.match(line):
            given, both = (copy * float(it) for it in found.groups())
            times["given", "ours", threads] = given
            times["fitted", "ours", threads] = both
    if len(times) < 3:
        raise SystemExit(f"no times in the output of `{command}`:\n{run.stdout}")
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--ours", metavar="COMMAND", help="the bench `fake_quantize`, as a command")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--turns", type=int, default=40)
    args = parser.parse_args()
    torch.set_grad_enabled(False)
    x = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))

    best: Times = {}
    for _ in range(args.rounds):
        sides = [torch_times(x, threads, args.turns) for threads in (1, 2)]
        sides.append(numpy_times(x.numpy(), args.turns))
        if args.ours:
            sides.append(our_times(args.ours))
        for times in sides:
            for key, seconds in times.items():
                best[key] = min(seconds, best.get(key, seconds))

    print(f"torch {torch.__version__}, numpy {numpy.__version__}, {platform.machine()}", end="")
    print(f", {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    print(f"{'task':8}{'side':21}{'threads':>7}{'ms':>9}{'GB/s':>8}{'/ torch':>9}")
    for task in ("copy", "given", "fitted"):
        rows = [(side, threads, t) for (of, side, threads), t in best.items() if of == task]
        for side, threads, seconds in sorted(rows, key=lambda row: row[1]):
            reference = best.get((task, "torch fake_quantize", threads))
            ratio = f"{seconds / reference:9.2f}" if reference else ""
            rate = BYTES / seconds / 1e9
            print(f"{task:8}{side:21}{threads:>7}{1e3 * seconds:9.3f}{rate:8.2f}{ratio}")


if __name__ == "__main__":
    main()
