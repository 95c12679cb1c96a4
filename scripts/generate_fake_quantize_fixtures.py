# /// script
# requires-python = ">=3.10"
# dependencies = ["torch==2.15.0", "safetensors==0.8.0", "numpy==2.4.6"]
# ///
"""Write the PyTorch reference that the fake quantisers of `quantizers` are tested against.

    uv run scripts/generate_fake_quantize_fixtures.py

One file below 72 kB, `crates/quantizers/tests/fixtures/fake_quantize.safetensors` (or `--out DIR`),
the same bytes from every run with the pinned versions. A case is the tensors `KIND.NUMBER.FIELD`:

tensor     `torch.fake_quantize_per_tensor_affine`; params: scale, zero point, least, greatest code
channel    `torch.fake_quantize_per_channel_affine` along axis 1; params: the same, a row each
learnable  `torch._fake_quantize_learnable_per_tensor_affine`; params: and the gradient factor
channels   `torch._fake_quantize_learnable_per_channel_affine` along axis 1; params: the same, a row each
observer   scale and zero point by `MinMaxObserver` and, along axis 1, `PerChannelMinMaxObserver`
lsq        LSQ and LSQ+; params: scale, offset, least and greatest code, whether they are inside
pact       PACT; params: alpha, bits
elastic    stretched elastic (SEQ) and, with 3 levels, ternary; params: alpha, levels
dorefa     DoReFa weights; params: bits

The last four are written here from the papers, in double precision with autograd:
`detach` where the estimator is straight, no formula of a gradient. The other fields are `x`,
the gradient `g` at the output `y`, and the gradients `dx`, `ds` of the first parameter, `dz`, `do`.
PyTorch's own functions know single precision alone; where they sum, the script sums once more
in double precision and fails when they are further than `TOLERANCE` from it.
"""

import argparse
import json
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy
import safetensors
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.ao.quantization.observer import MinMaxObserver, PerChannelMinMaxObserver

FIXTURES = Path(__file__).resolve().parents[1] / "crates/quantizers/tests/fixtures"
BUDGET_BYTES = 72_000
TOLERANCE = 1e-6
COUNT = 90

Case = dict[str, Tensor]


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def gradient(seed: int, like: Tensor) -> Tensor:
    """A gradient at the output, mostly positive: sums over it do not cancel."""
    return 1 + 0.5 * normal(seed, *like.shape)


def single(*numbers: float) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float32)


def half_steps(scale: float) -> Tensor:
    """Every half step from -10 to 10: ties for a power of two, within an ulp of one for others."""
    return torch.arange(-20, 21).float() * (0.5 * scale)


def tensor_cases() -> list[Case]:
    cases = []
    for x, scale, zero_point, low, high in [
        (single(-10, -1.3, -1, -0.5, 0, 0.26, 0.5, 9), 0.1, 3, -8, 7),
        (single(0.4499, 0.4501, -1.149, -1.151), 0.1, 3, -8, 7),
        (half_steps(0.25), 0.25, 0, -7, 7),
        (half_steps(0.1), 0.1, 0, -7, 7),
        (half_steps(0.3), 0.3, 5, 0, 15),
        (normal(1, COUNT), 0.02, 0, -127, 127),
        (normal(2, COUNT), 0.013, 131, 0, 255),
        (normal(3, COUNT) * 1e-3, 1.3e-3, 1, 0, 3),
    ]:
        x = x.clone().requires_grad_()
        g = gradient(100 + len(cases), x)
        y = torch.fake_quantize_per_tensor_affine(x, scale, zero_point, low, high)
        y.backward(g)
        params = single(scale, zero_point, low, high)
        cases.append({"x": x, "g": g, "y": y, "dx": x.grad, "params": params})
    return cases


def channel_cases() -> list[Case]:
    cases = []
    for low, high in [(-7, 7), (0, 255)]:
        x = normal(10 + high, 31, 7).requires_grad_()
        g = gradient(110 + high, x)
        scales = x.detach().abs().amax(0) / (0.75 * (high - low))
        zero_points = (torch.arange(7) * (19 if low == 0 else 0)).int()
        y = torch.fake_quantize_per_channel_affine(x, scales, zero_points, 1, low, high)
        y.backward(g)
        params = torch.stack([scales, *(it.expand(7) for it in (zero_points, *single(low, high)))])
        cases.append({"x": x, "g": g, "y": y, "dx": x.grad, "params": params})
    return cases


def learnable_cases() -> list[Case]:
    # No zero point between -1 and 0 or at a half: there PyTorch's two passes round differently.
    cases = []
    for x, scale, zero_point, low, high, factor in [
        (single(-10, -0.23, 0.31, 0.5, 9), 0.1, 3.0, -8, 7, 1.0),
        (single(-10, -0.23, 0.31, 0.5, 9), 0.1, 3.0, -8, 7, 0.5),
        (normal(20, COUNT) + 0.5, 0.11, 7.3, 0, 15, 0.05),
        (normal(21, COUNT) + 0.5, 0.2, 0.0, -7, 7, 1.0),
        (normal(22, COUNT) + 0.5, 0.007, 100.0, 0, 255, 1.0),
        (normal(23, COUNT), 0.9, 40.0, -2, 1, 1.0),  # the zero point is clamped
    ]:
        g = single(1, 2, 3, 4, 5) if x.numel() == 5 else gradient(120 + len(cases), x)
        x = x.clone().requires_grad_()
        s, z = single(scale).requires_grad_(), single(zero_point).requires_grad_()
        y = torch._fake_quantize_learnable_per_tensor_affine(x, s, z, low, high, factor)
        y.backward(g)
        check_learnable(x, g, s, z, (low, high), factor)
        grads = {"dx": x.grad, "ds": s.grad, "dz": z.grad}
        params = single(scale, zero_point, low, high, factor)
        cases.append({"x": x, "g": g, "y": y, "params": params} | grads)
    return cases


def learnable_channel_cases() -> list[Case]:
    cases = []
    for low, high, zero_points, factor in [
        (-7, 7, single(0, 0, 0, 0, 0), 1.0),
        (0, 15, single(7.3, 3, 0, 20, 8.8), 0.05),  # one is clamped
    ]:
        x = normal(70 + high, 19, 5) + 0.5
        g = gradient(170 + high, x)
        s = (x.abs().amax(0) / (0.6 * (high - low))).requires_grad_()
        x, z = x.requires_grad_(), zero_points.requires_grad_()
        y = torch._fake_quantize_learnable_per_channel_affine(x, s, z, 1, low, high, factor)
        y.backward(g)
        check_learnable(x, g, s, z, (low, high), factor, 0)
        grads = {"dx": x.grad, "ds": s.grad, "dz": z.grad}
        params = torch.stack([s, z, *(it.expand(5) for it in single(low, high, factor))])
        cases.append({"x": x, "g": g, "y": y, "params": params} | grads)
    return cases


def check_learnable(x, g, s, z, ends, factor, axes=None) -> None:
    """Sums in single precision against sums in double, over the codes of single precision."""
    q = torch.round(x * (1 / s)) + torch.round(z).clamp(*ends)
    x, g, scale, q = (it.detach().double() for it in (x, g, s, q))
    zero, inside = torch.round(z.detach().double()).clamp(*ends), (q >= ends[0]) & (q <= ends[1])
    d = torch.where(inside, q - zero - x / scale, q.clamp(*ends) - zero)
    ds, dz = factor * (g * d).sum(axes), -factor * (g * scale * ~inside).sum(axes)
    for name, found, expected in [("ds", s.grad, ds), ("dz", z.grad, dz)]:
        close = (found - expected).abs() <= TOLERANCE * expected.abs()
        assert close.all(), f"{name}: {found} is not {expected}"


# Of `Affine` and `Symmetric`: field, type of the codes, scheme, least and greatest code by bits.
OBSERVERS = [
    ("affine", torch.quint8, "affine", lambda bits: (0, 2**bits - 1)),
    ("unsigned", torch.quint8, "symmetric", lambda bits: (0, 2**bits - 1)),
    ("signed", torch.qint8, "affine", lambda bits: (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)),
    ("both", torch.qint8, "symmetric", lambda bits: (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)),
    ("symmetric", torch.qint8, "symmetric", lambda bits: (1 - 2 ** (bits - 1), 2 ** (bits - 1) - 1)),
]


def observer_cases() -> list[Case]:
    cases = []
    for x in [single(0.5, 2), single(-1, 3), single(-3, -1), single(0, 0), normal(30, 50)]:
        case = {"x": x}
        for bits in (8, 4):
            for name, dtype, scheme, ends in OBSERVERS:
                # 8 bits are the range of the type: the middle of a custom one is rounded down.
                whole = bits == 8 and name != "symmetric"
                low, high = (None, None) if whole else ends(bits)
                scheme = getattr(torch, f"per_tensor_{scheme}")
                observer = MinMaxObserver(dtype, scheme, False, low, high)
                observer(x)
                case[f"{name}{bits}"] = torch.cat(observer.calculate_qparams())
        cases.append(case)
    for x in (torch.tensor([[1, -2], [-3, 0.5]]), normal(31, 17, 5)):
        case = {"x": x}
        for name, dtype, scheme, ends in OBSERVERS:
            low, high = ends(8) if name == "symmetric" else (None, None)
            scheme = getattr(torch, f"per_channel_{scheme}")
            observer = PerChannelMinMaxObserver(1, dtype, scheme, False, low, high)
            observer(x)
            case[f"{name}8"] = torch.stack([it.float() for it in observer.calculate_qparams()])
        cases.append(case)
    return cases


def straight(rounded: Tensor, x: Tensor) -> Tensor:
    """The value of `rounded`, the gradient of `x`."""
    return x + (rounded - x).detach()


def differentiate(
    x: Tensor, g: Tensor, params: Tensor, forward: Callable[..., Tensor], *learned: str
) -> Case:
    """Value and gradients of `forward(x, ..)` in double precision, by `x` and first `params`."""
    leaves = [x.double(), *params[: len(learned)].double()]
    leaves = [leaf.clone().requires_grad_() for leaf in leaves]
    y = forward(*leaves)
    y.backward(g.double())
    dx, *grads = (leaf.grad for leaf in leaves)
    grads = {name: grad.reshape(1) for name, grad in zip(learned, grads, strict=True)}
    return {"x": x, "g": g, "y": y.float(), "dx": dx.float(), "params": params} | grads


def lsq_cases() -> list[Case]:
    cases = []
    for x, scale, offset, low, high, ends_inside in [
        (normal(40, COUNT), 1.3039, 0.0, -1, 1, True),
        (normal(41, COUNT), 0.3552, 0.0, -7, 7, True),
        (normal(42, COUNT), 0.3402, 0.0, -8, 7, False),
        (normal(43, COUNT), 0.0309, 0.0, -128, 127, True),
        (normal(44, COUNT).relu(), 0.2, 0.0, 0, 7, True),  # half of it at an end
        (normal(44, COUNT).relu(), 0.2, 0.0, 0, 7, False),
        (normal(45, COUNT), 0.21, 0.37, -8, 7, True),
        (normal(46, COUNT) + 5, 0.021, 5.1, -128, 127, True),
    ]:

        def forward(
            x: Tensor, s: Tensor, o: Tensor, low=low, high=high, ends_inside=ends_inside
        ) -> Tensor:
            # Not `clamp`, which passes no gradient at its ends in 2.15.
            u = (x - o) / s
            inside = (low <= u) & (u <= high) if ends_inside else (low < u) & (u < high)
            clipped = torch.where(inside, u, u.detach().clamp(low, high))
            return straight(clipped.round(), clipped) * s + o

        params = single(scale, offset, low, high, ends_inside)
        g = gradient(140 + len(cases), x)
        cases.append(differentiate(x, g, params, forward, "ds", "do"))
    return cases


def pact_cases() -> list[Case]:
    cases = []
    for bits, alpha in [(4, 1.7), (2, 0.9), (8, 2.5)]:
        top = 2**bits - 1

        def forward(x: Tensor, alpha: Tensor, top=top) -> Tensor:
            # y = (|x| - |x - alpha| + alpha)/2, as the paper writes the clip.
            y = 0.5 * (x.abs() - (x - alpha).abs() + alpha)
            return straight((y * top / alpha).round() * alpha / top, y)

        x = normal(50 + bits, COUNT)
        params = single(alpha, bits)
        cases.append(differentiate(x, gradient(150 + bits, x), params, forward, "ds"))
    return cases


def elastic_cases() -> list[Case]:
    cases = []
    for levels, alpha in [(4, 1.99), (8, 2.3), (16, 2.9), (3, 1.7)]:
        n, shift = (levels / 2, 0.5) if levels % 2 == 0 else (1.5, 0.0)

        def forward(x: Tensor, alpha: Tensor, n=n, shift=shift) -> Tensor:
            u = x / alpha
            f = ((u.clamp(-0.99, 0.99) * n - shift).round() + shift) / n
            # Outside the clip the level is a constant: alpha f has the gradient f of alpha.
            return alpha * torch.where(u.abs() <= 0.99, straight(f, u), f)

        x = normal(60 + levels, COUNT)
        params = single(alpha, levels)
        cases.append(differentiate(x, gradient(160 + levels, x), params, forward, "ds"))
    return cases


def dorefa_cases() -> list[Case]:
    cases = []
    for bits in [1, 2, 3, 8]:

        def forward(x: Tensor, bits=bits) -> Tensor:
            if bits == 1:
                return straight(torch.where(x >= 0, 1.0, -1.0) * x.abs().mean(), x)
            t, top = x.tanh(), 2**bits - 1
            r = t / (2 * t.abs().max()) + 0.5
            return 2 * straight((top * r).round() / top, r) - 1

        x = 0.7 * normal(80 + bits, 40)
        cases.append(differentiate(x, gradient(180 + bits, x), single(bits), forward))
    return cases


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=FIXTURES)
    out = parser.parse_args().out
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    warnings.simplefilter("ignore", FutureWarning)  # of the observers' move to torchao

    kinds = {
        "tensor": tensor_cases(),
        "channel": channel_cases(),
        "learnable": learnable_cases(),
        "channels": learnable_channel_cases(),
        "observer": observer_cases(),
        "lsq": lsq_cases(),
        "pact": pact_cases(),
        "elastic": elastic_cases(),
        "dorefa": dorefa_cases(),
    }
    tensors = {
        f"{kind}.{number}.{field}": tensor.detach().clone(memory_format=torch.contiguous_format)
        for kind, cases in kinds.items()
        for number, case in enumerate(cases)
        for field, tensor in case.items()
    }
    versions = {it.__name__: it.__version__ for it in (torch, safetensors, numpy)}
    out.mkdir(parents=True, exist_ok=True)
    path = out / "fake_quantize.safetensors"
    save_file(tensors, path, metadata={"about": json.dumps({"versions": versions})})
    size = path.stat().st_size
    print(f"{size:>7}  {path}")
    assert size < BUDGET_BYTES, f"{size} bytes, and the fixtures may take {BUDGET_BYTES}"


if __name__ == "__main__":
    main()
