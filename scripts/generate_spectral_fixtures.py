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
"""Write seeded matrices and what WeightWatcher 0.7.7 says of them.

    uv run scripts/generate_spectral_fixtures.py

`weights.safetensors` holds the matrices, float32, `expected.json` a row for each: the columns of
`analyze(mp_fit=True, randomize=True, detX=True)` without those that depend on its permutation, and
under `clip_xmax` what changes with `fix_fingers="clip_xmax"`. Infinities and NaN are words.
WeightWatcher imports PyTorch to read a state dict; all arithmetic is NumPy's on the CPU.
"""

import contextlib
import io
import json
import logging
import math
import pathlib

import numpy
import weightwatcher
from safetensors.numpy import save_file

OUT = pathlib.Path(__file__).parents[1] / "crates/spectral/tests/fixtures"
RANDOM = ("rand_", "num_traps", "max_rand_eval", "ww_softrank", "ww_maxdist")
NAMES = ("layer_id", "name", "longname")
CLIPPED = ("alpha", "raw_alpha", "num_fingers", "xmin", "xmax", "D", "num_pl_spikes")


def pareto(rng, rows, cols, alpha):
    """Random orthogonal factors, eigenvalues Pareto with exponent alpha from 1."""
    left = numpy.linalg.qr(rng.normal(size=(rows, cols)))[0]
    right = numpy.linalg.qr(rng.normal(size=(cols, cols)))[0]
    eigenvalues = (1 - rng.random(cols)) ** (-1 / (alpha - 1))
    return (left * numpy.sqrt(eigenvalues)) @ right.T


def two_bits(matrix):
    """Symmetric, three levels, one scale."""
    scale = numpy.abs(matrix).max()
    return numpy.round(matrix / scale) * scale


def matrices():
    rng = numpy.random.default_rng(19)
    heavy = pareto(rng, 120, 80, 2.5).astype(numpy.float32)
    return {
        "gauss_sq_64": rng.normal(size=(64, 64)) / 8,
        "gauss_90x60": rng.normal(size=(90, 60)),
        "pareto_120x80": heavy,
        "pareto_120x80__q2": two_bits(heavy),
        "lowrank_exact_rank20_120x80": rng.normal(size=(120, 20)) @ rng.normal(size=(20, 80)),
        "nearly_zero_60x40": 1e-6 * rng.normal(size=(60, 40)),
        "zeros_40x30": numpy.zeros((40, 30)),
        "small_30x9": rng.normal(size=(30, 9)),
        "small_30x10": rng.normal(size=(30, 10)),
        "small_30x19": rng.normal(size=(30, 19)),
        "small_tied_12": numpy.eye(12),
        "ties_identity_50": numpy.eye(50),
        "conv_20x12x3x3": 0.1 * rng.normal(size=(20, 12, 3, 3)),
    }


def analyse(name, matrix, **options):
    watcher = weightwatcher.WeightWatcher(model={f"{name}.weight": matrix})
    with contextlib.redirect_stdout(io.StringIO()):
        details = watcher.analyze(**options)
    (row,) = details.to_dict("records")
    return {column: plain(value) for column, value in row.items()}


def plain(value):
    value = value.item() if isinstance(value, numpy.generic) else value
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def main():
    logging.disable(logging.CRITICAL)
    numpy.random.seed(0)  # its permutations; their columns are dropped
    tensors = {name: matrix.astype(numpy.float32) for name, matrix in matrices().items()}
    expected = {}
    for name, matrix in tensors.items():
        row = analyse(name, matrix, mp_fit=True, randomize=True, detX=True)
        row = {column: row[column] for column in sorted(row) if column not in NAMES}
        expected[name] = {k: v for k, v in row.items() if not k.startswith(RANDOM)}
        clipped = analyse(name, matrix, fix_fingers="clip_xmax")
        expected[name]["clip_xmax"] = {column: clipped[column] for column in CLIPPED}
    OUT.mkdir(parents=True, exist_ok=True)
    save_file(tensors, OUT / "weights.safetensors")
    lines = ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in expected.items())
    (OUT / "expected.json").write_text(f"{{\n{lines}\n}}\n")


if __name__ == "__main__":
    main()
