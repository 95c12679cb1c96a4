# /// script
# requires-python = ">=3.10"
# dependencies = ["torch==2.15.0", "numpy==2.4.6"]
# ///
"""Time one SubLoRA training step and one certification forward in PyTorch, ours beside it.

    uv run scripts/bench_pytorch.py                        # PyTorch alone
    uv run scripts/bench_pytorch.py --ours 'COMMAND ARGS'  # and ours, in turn: A B A B ..

The model has the shape of GPT-2 small (12 layers, 12 heads, width 768, 50,257 tokens) and a random
frozen base. Its batch is 1 x 256 tokens, in float32, on `--threads` CPU threads.

step      theta = theta0 + P alpha is written into the LoRA tensors (r = 4 on q, v and the head),
          forward, mean cross-entropy, backward, alpha's gradient is P^T of theirs, clip, AdamW.
          P is `rdkronqr`: a Kronecker product of two orthonormal factors, a Gaussian tail for what
          the two square roots leave over, and a permutation; d = 10,000.
forward   per token the log-sum-exp, the target's log-probability and the number of tokens that
          score higher than the target, of the adapted model, without autograd.

Each phase runs in a process of its own, so that its peak memory is its own. COMMAND gets
`--phase step` or `--phase forward` appended and prints, as the last line of its stdout,

    {"step_seconds": .., "step_tokens_per_s": .., "peak_rss_bytes": ..}

or the same with `forward_`. A process reports its median over `--repeats` timed rounds; the table
has the median and the best over `--rounds` processes of either side. PyTorch's peak includes what
`import torch` maps (`import_rss_bytes`), which for a CUDA build is far more than for a CPU one.
"""

import argparse
import json
import math
import platform
import re
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

N_LAYER, N_HEAD, WIDTH, VOCAB, CONTEXT = 12, 12, 768, 50_257, 1024
SEQ = 256
RANK, SCALE = 4, 8.0
INTRINSIC = 10_000
PHASES = ("step", "forward")


def peak_rss_bytes() -> int:
    """The largest resident set this process had. `ru_maxrss` would inherit the parent's."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(re.search(r"VmHWM:\s*(\d+) kB", status.read_text())[1]) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if platform.system() == "Darwin" else peak * 1024


def benchmark(args: argparse.Namespace) -> dict:
    """One phase in this process."""
    import torch
    import torch.nn.functional as F
    from torch import Tensor

    import_rss = peak_rss_bytes()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)

    def frozen(*shape: int, std: float = 0.02) -> Tensor:
        return torch.empty(shape).normal_(std=std)

    def bias(size: int) -> Tensor | None:
        return None if args.no_bias else frozen(size)

    def norm() -> tuple[Tensor, Tensor | None]:
        return torch.ones(WIDTH), bias(WIDTH)

    def linear(inputs: int, outputs: int, std: float = 0.02) -> tuple[Tensor, Tensor | None]:
        return frozen(outputs, inputs, std=std), bias(outputs)

    residual_std = 0.02 / math.sqrt(2 * N_LAYER)
    wte, wpe, ln_f = frozen(VOCAB, WIDTH), frozen(CONTEXT, WIDTH), norm()
    blocks = [
        {
            "ln_1": norm(),
            "c_attn": linear(WIDTH, 3 * WIDTH),
            "attn_proj": linear(WIDTH, WIDTH, residual_std),
            "ln_2": norm(),
            "c_fc": linear(WIDTH, 4 * WIDTH),
            "mlp_proj": linear(4 * WIDTH, WIDTH, residual_std),
        }
        for _ in range(N_LAYER)
    ]

    # The LoRA tensors in their flat layout: q.A, q.B, v.A, v.B per block, then head.A, head.B.
    training = args.phase == "step"
    per_block = [(RANK, WIDTH), (WIDTH, RANK)] * 2
    shapes = per_block * N_LAYER + [(RANK, WIDTH), (VOCAB, RANK)]
    sizes = [math.prod(shape) for shape in shapes]
    is_a = [i % 2 == 0 for i in range(len(shapes))]
    theta0 = torch.cat(
        [
            torch.empty(size).uniform_(-(WIDTH**-0.5), WIDTH**-0.5) if a else torch.zeros(size)
            for size, a in zip(sizes, is_a, strict=True)
        ]
    )
    lora = [
        part.view(shape).clone().requires_grad_(training)
        for part, shape in zip(theta0.split(sizes), shapes, strict=True)
    ]

    ambient = len(theta0)
    rows, columns = math.isqrt(ambient), math.isqrt(INTRINSIC)
    left, right = (torch.linalg.qr(torch.randn(rows, columns)).Q.contiguous() for _ in range(2))
    tail_rows, tail_columns = ambient - rows**2, INTRINSIC - columns**2
    tail = torch.randn(tail_rows, tail_columns) / math.sqrt(max(tail_rows, 1))
    permutation = torch.randperm(ambient)

    def project(v: Tensor) -> Tensor:
        main = left @ v[: columns**2].view(columns, columns) @ right.T
        return torch.cat([main.flatten(), tail @ v[columns**2 :]])[permutation]

    def project_transposed(g: Tensor) -> Tensor:
        unpermuted = torch.empty_like(g)
        unpermuted[permutation] = g
        main = left.T @ unpermuted[: rows**2].view(rows, rows) @ right
        return torch.cat([main.flatten(), tail.T @ unpermuted[rows**2 :]])

    def attention(x: Tensor, block: dict, adapters: list[Tensor]) -> Tensor:
        q_a, q_b, v_a, v_b = adapters
        q, k, v = F.linear(x, *block["c_attn"]).split(WIDTH, dim=-1)  # each [SEQ, WIDTH]
        q = torch.addmm(q, x @ q_a.T, q_b.T, alpha=SCALE)
        v = torch.addmm(v, x @ v_a.T, v_b.T, alpha=SCALE)
        heads = (t.view(1, SEQ, N_HEAD, -1).transpose(1, 2) for t in (q, k, v))
        y = F.scaled_dot_product_attention(*heads, is_causal=True)
        return F.linear(y.transpose(1, 2).reshape(SEQ, WIDTH), *block["attn_proj"])

    def layer_norm(x: Tensor, weights: tuple[Tensor, Tensor | None]) -> Tensor:
        return F.layer_norm(x, (WIDTH,), *weights)

    def hidden(tokens: Tensor, adapters: list[Tensor]) -> Tensor:
        x = wte[tokens] + wpe[:SEQ]  # [SEQ, WIDTH]
        for i, block in enumerate(blocks):
            x = x + attention(layer_norm(x, block["ln_1"]), block, adapters[4 * i : 4 * i + 4])
            h = F.linear(layer_norm(x, block["ln_2"]), *block["c_fc"])
            x = x + F.linear(F.gelu(h, approximate="tanh"), *block["mlp_proj"])
        return layer_norm(x, ln_f)

    def head(h: Tensor, adapters: list[Tensor]) -> Tensor:
        # In place: the base logits [tokens, VOCAB] are not needed again.
        return (h @ wte.T).addmm_(h @ adapters[-2].T, adapters[-1].T, alpha=SCALE)

    def loss_of(tokens: Tensor, targets: Tensor, adapters: list[Tensor]) -> Tensor:
        return F.cross_entropy(head(hidden(tokens, adapters), adapters), targets)

    def score(tokens: Tensor, targets: Tensor, adapters: list[Tensor]) -> Tensor:
        h = hidden(tokens, adapters)
        scores = []
        for part, target in zip(h.split(args.chunk), targets.split(args.chunk), strict=True):
            logits = head(part, adapters)
            own = logits.gather(1, target[:, None])
            log_sum = logits.logsumexp(1, keepdim=True)
            above = (logits > own).sum(1, keepdim=True)
            scores.append(torch.cat([log_sum, own - log_sum, above], dim=1))
        return torch.cat(scores)

    if args.compile:
        loss_of, score = torch.compile(loss_of), torch.compile(score)

    tokens, targets = torch.randint(VOCAB, (2, SEQ))
    alpha = torch.zeros(INTRINSIC, requires_grad=True)
    optimiser = torch.optim.AdamW([alpha], lr=5e-3, eps=1e-6, weight_decay=1e-2, fused=True)

    def step() -> float:
        with torch.no_grad():
            theta = theta0 + project(alpha)
            for tensor, part in zip(lora, theta.split(sizes), strict=True):
                tensor.copy_(part.view(tensor.shape))
                tensor.grad = None
        loss = loss_of(tokens, targets, lora)
        loss.backward()
        with torch.no_grad():
            alpha.grad = project_transposed(torch.cat([t.grad.flatten() for t in lora]))
        torch.nn.utils.clip_grad_norm_([alpha], 1.0)
        optimiser.step()
        return loss.item()

    @torch.inference_mode()
    def forward() -> float:
        return -score(tokens, targets, lora)[:, 1].mean().item()

    run: Callable[[], float] = step if training else forward
    losses = [run() for _ in range(args.warmup)]
    seconds = []
    for _ in range(args.repeats):
        start = time.perf_counter()
        losses.append(run())
        seconds.append(time.perf_counter() - start)
    # A random base knows nothing, and the first step of training must help on its own batch.
    assert abs(losses[0] - math.log(VOCAB)) < 0.5, losses
    assert not training or losses[-1] < losses[0], losses

    median = statistics.median(seconds)
    return {
        f"{args.phase}_seconds": median,
        f"{args.phase}_tokens_per_s": SEQ / median,
        f"{args.phase}_seconds_best": min(seconds),
        "peak_rss_bytes": peak_rss_bytes(),
        "import_rss_bytes": import_rss,
        "torch": torch.__version__,
        "threads": args.threads,
    }


def last_json_line(command: list[str]) -> dict:
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        sys.exit(f"{shlex.join(command)}: exit code {done.returncode}, {len(lines)} lines of JSON")
    return json.loads(lines[-1])


def summary(runs: list[dict], phase: str) -> dict:
    seconds, best = f"{phase}_seconds", f"{phase}_seconds_best"
    median = statistics.median(run[seconds] for run in runs)
    return {
        seconds: median,
        best: min(run.get(best, run[seconds]) for run in runs),
        f"{phase}_tokens_per_s": SEQ / median,
        f"{phase}_peak_rss_bytes": max(run["peak_rss_bytes"] for run in runs),
    }


def side_by_side(args: argparse.Namespace) -> dict[str, dict]:
    """Alternate the sides, round by round and phase by phase."""
    passed = ["--threads", str(args.threads), "--repeats", str(args.repeats)]
    passed += ["--warmup", str(args.warmup), "--chunk", str(args.chunk), "--json"]
    passed += ["--no-bias"] * args.no_bias + ["--compile"] * args.compile
    sides = {"pytorch": [sys.executable, __file__, *passed]}
    if args.ours:
        sides["ours"] = shlex.split(args.ours)
    found: dict[str, dict] = {side: {} for side in sides}
    for phase in PHASES:
        runs: dict[str, list[dict]] = {side: [] for side in sides}
        for _ in range(args.rounds):
            for side, command in sides.items():
                runs[side].append(last_json_line([*command, "--phase", phase]))
        for side in sides:
            found[side] |= summary(runs[side], phase)
    extra = runs["pytorch"][-1]
    found["pytorch"] |= {key: extra[key] for key in ("import_rss_bytes", "torch", "threads")}
    return found


def print_table(found: dict[str, dict]) -> None:
    print(f"{'':8} {'':8} {'tokens/s':>9} {'median s':>9} {'best s':>9} {'peak MB':>9}")
    for phase in PHASES:
        for side, numbers in found.items():
            print(
                f"{phase:8} {side:8} {numbers[f'{phase}_tokens_per_s']:9.1f}"
                f" {numbers[f'{phase}_seconds']:9.3f} {numbers[f'{phase}_seconds_best']:9.3f}"
                f" {numbers[f'{phase}_peak_rss_bytes'] / 1e6:9.0f}"
            )
        if "ours" in found:
            speed, best, memory = ratios(found, phase)
            print(f"{phase:8} {'ratio':8} {speed:9.2f} {'':9} {best:9.2f} {memory:9.2f}")
    print(f"import torch alone: {found['pytorch']['import_rss_bytes'] / 1e6:.0f} MB")
    if "ours" in found:
        print("ratio: our speed over PyTorch's (above 1 we are faster), our memory over PyTorch's")


def ratios(found: dict[str, dict], phase: str) -> tuple[float, float, float]:
    ours, theirs = found["ours"], found["pytorch"]
    return (
        ours[f"{phase}_tokens_per_s"] / theirs[f"{phase}_tokens_per_s"],
        theirs[f"{phase}_seconds_best"] / ours[f"{phase}_seconds_best"],
        ours[f"{phase}_peak_rss_bytes"] / theirs[f"{phase}_peak_rss_bytes"],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--ours", metavar="COMMAND", help="ours, run in turn with PyTorch")
    parser.add_argument("--phase", choices=PHASES, help="run one phase in this process")
    parser.add_argument("--json", action="store_true", help="one line of JSON instead of the table")
    parser.add_argument("--rounds", type=int, default=3, help="processes per side and phase (3)")
    parser.add_argument("--repeats", type=int, default=7, help="timed runs in a process (7)")
    parser.add_argument("--warmup", type=int, default=2, help="runs before them (2)")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads of PyTorch (2)")
    parser.add_argument("--chunk", type=int, default=SEQ, help="tokens scored at once (256)")
    parser.add_argument("--no-bias", action="store_true", help="no bias in linear and norm layers")
    parser.add_argument("--compile", action="store_true", help="needs a C++ compiler")
    args = parser.parse_args()
    if args.phase:
        print(json.dumps(benchmark(args)))
        return
    found = side_by_side(args)
    if args.json:
        print(json.dumps(found))
    else:
        print_table(found)


if __name__ == "__main__":
    main()
