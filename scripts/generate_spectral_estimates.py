# /// script
# requires-python = ">=3.10"
# dependencies = ["numpy==2.4.6", "scipy==1.17.1", "safetensors==0.8.0"]
# ///
"""Write what SciPy makes of the tails of the matrices in `weights.safetensors`.

    uv run scripts/generate_spectral_estimates.py

Run `generate_spectral_fixtures.py` before it. `estimates.json` has a row for each matrix: Hill's exponent, that
of FARMS, the power law of least Kolmogorov-Smirnov distance with a tail of at least ten, the truncated
power law and the likelihood ratios on its tail, and the percentiles of 2,000 bootstrap replicates.
Likelihoods are maximised by Nelder and Mead's simplex over parameters, integrals by adaptive
quadrature, spectra by singular value decomposition: nothing is shared with the crate.
"""

import json
import pathlib

import numpy
from safetensors.numpy import load_file
from scipy.integrate import quad
from scipy.optimize import minimize
from scipy.special import erfc, log_ndtr

FIXTURES = pathlib.Path(__file__).parents[1] / "crates/spectral/tests/fixtures"
CASES = ("gauss_90x60", "pareto_120x80", "small_30x19")
MIN_TAIL = 10
REPLICATES = 2000
SIMPLEX = {"xatol": 1e-10, "fatol": 1e-12, "maxiter": 20_000, "maxfev": 20_000}


def spectrum(matrix):
    return numpy.sort(numpy.linalg.svd(matrix, compute_uv=False) ** 2)


def hill(values):
    tail = values[len(values) // 2 :]
    return 1 + len(tail) / numpy.log(tail / tail[0]).sum()


def farms(matrix, size, per_side=4):
    def starts(side):
        step = max(1, (side - size) // (per_side - 1))
        return [at for at in range(0, side - size + 1, step)][:per_side]

    rows, cols = (starts(side) for side in matrix.shape)
    windows = [spectrum(matrix[i : i + size, j : j + size]) for i in rows for j in cols]
    return hill(numpy.sort(numpy.concatenate(windows)))


def power_law(values):
    best = (numpy.inf, None, None)
    for first in range(len(values) - MIN_TAIL + 1):
        tail = values[first:]
        n, logs = len(tail), numpy.log(tail / tail[0])
        alpha = 1 + n / logs.sum()
        distance = numpy.abs(1 - numpy.exp((1 - alpha) * logs) - numpy.arange(n) / n).max()
        if distance < best[0]:
            best = (distance, alpha, n)
    return best


def truncated(tail):
    xmin, n = tail[0], len(tail)
    logs, total = numpy.log(tail).sum(), tail.sum()

    def loss(parameters):
        alpha, cutoff = parameters
        if cutoff <= 0:
            return numpy.inf
        # integral from xmin by t = xmin e^u, scaled by its integrand at xmin
        integral = quad(
            lambda u: numpy.exp((1 - alpha) * u - cutoff * xmin * numpy.expm1(u)),
            0,
            numpy.log1p(60 / (cutoff * xmin)),
            epsabs=0,
            epsrel=1e-12,
            limit=500,
        )[0]
        log_integral = numpy.log(integral) + (1 - alpha) * numpy.log(xmin) - cutoff * xmin
        return alpha * logs + cutoff * total + n * log_integral

    best = minimize(loss, [2, 1 / tail.mean()], method="Nelder-Mead", options=SIMPLEX)
    return {"alpha": best.x[0], "lambda": best.x[1], "negative_log_likelihood": best.fun}


def ratio(differences):
    total, n = differences.sum(), len(differences)
    return [total, erfc(abs(total) / (numpy.sqrt(2 * n) * differences.std()))]


def ratios(tail, alpha):
    xmin, x = tail[0], tail
    pareto = numpy.log((alpha - 1) / xmin) - alpha * numpy.log(x / xmin)
    rate = 1 / (x.mean() - xmin)

    def lognormal(parameters):
        mu, log_s = parameters
        s, z = numpy.exp(log_s), (numpy.log(x) - parameters[0]) / numpy.exp(parameters[1])
        above = log_ndtr((mu - numpy.log(xmin)) / s)
        return -0.5 * numpy.log(2 * numpy.pi) - log_s - numpy.log(x) - z**2 / 2 - above

    start = [numpy.log(x).mean(), numpy.log(numpy.log(x).std())]
    options = dict(method="Nelder-Mead", options=SIMPLEX)
    best = minimize(lambda it: -lognormal(it).sum(), start, **options)
    return {
        "exponential": ratio(pareto - (numpy.log(rate) - rate * (x - xmin))),
        "lognormal": ratio(pareto - lognormal(best.x)),
    }


def bootstrap(values, rng):
    distance, alpha, n = power_law(values)
    below, xmin = values[: len(values) - n], values[len(values) - n]
    fits = []
    for _ in range(REPLICATES):
        k = rng.binomial(len(values), n / len(values))
        tail = xmin * (1 - rng.random(k)) ** (-1 / (alpha - 1))
        body = rng.choice(below, len(values) - k) if len(below) else []
        fits.append(power_law(numpy.sort(numpy.concatenate([body, tail])))[:2])
    distances, alphas = numpy.array(fits).T
    lower, upper = numpy.percentile(alphas, [2.5, 97.5])
    return {"lower": lower, "upper": upper, "p": (distances >= distance).mean()}


def main():
    tensors = load_file(FIXTURES / "weights.safetensors")
    rng = numpy.random.default_rng(23)
    rows = {}
    for name in CASES:
        matrix = tensors[name].astype(numpy.float64)
        values = spectrum(matrix)
        distance, alpha, n = power_law(values)
        tail = values[len(values) - n :]
        rows[name] = {
            "hill": hill(values),
            "farms_16": farms(matrix, 16),
            "power_law": {"alpha": alpha, "distance": distance, "tail": n},
            "truncated": truncated(values),
            **ratios(tail, alpha),
            "bootstrap": bootstrap(values, rng),
        }
    lines = ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in rows.items())
    (FIXTURES / "estimates.json").write_text(f"{{\n{lines}\n}}\n")


if __name__ == "__main__":
    main()
