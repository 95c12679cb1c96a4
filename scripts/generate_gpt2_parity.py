# /// script
# requires-python = ">=3.10"
# dependencies = ["torch==2.15.0", "transformers==5.23.0", "safetensors==0.8.0", "numpy==2.4.6"]
# ///
"""Write the PyTorch reference that `gpt2-model` and `adapters` are tested against.

    uv run scripts/generate_gpt2_parity.py

Everything goes to `crates/gpt2-model/tests/fixtures` (or `--out DIR`), a rerun with the pinned
versions reproduces the tensors, and all files together stay below 100 kB:

parity.safetensors   a tiny seeded `GPT2LMHeadModel`: its weights under their checkpoint names (no
                     `transformer.` prefix, no tied `lm_head`), `tokens` and `targets` [2, 12],
                     `logits`, `loss`, `grad.NAME` for every weight, `adamw.losses` (before each of
                     ten AdamW steps on that batch, and after the last), and the same weights under
                     the exact GELU (`gelu.*`) and with every bias zero (`no_bias.*`)
lora.safetensors     LoRA on q, v and the output head of that model, base frozen: `NAME.lora_A`
                     [r, in], `NAME.lora_B` [out, r], `logits`, `loss` and their gradients
tiny-hf*/            one still smaller checkpoint in the three layouts that are found in the wild,
                     each to give the `logits` of `expected.safetensors` for its `tokens`

The loss is the mean cross-entropy in nats of `targets`, which are given separately: nothing is
shifted. Weights are drawn so large that no part of the model is near its linear regime. The script
computes everything a second time in double precision and fails when the single-precision numbers
it writes are further than `TOLERANCE` away, in the metric of the tests: the largest absolute
difference over a tensor, divided by the largest absolute value in it.
"""

import argparse
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy
import safetensors
import torch
import torch.nn.functional as F
import transformers
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel

FIXTURES = Path(__file__).resolve().parents[1] / "crates/gpt2-model/tests/fixtures"
BUDGET_BYTES = 100_000
TOLERANCE = 2e-6
BATCH, SEQ = 2, 12
ADAMW = {"lr": 1e-2, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.01}
ADAMW_STEPS = 10
LORA_RANK, LORA_ALPHA = 2, 4
LORA_SCALE = LORA_ALPHA / LORA_RANK

# 41 is prime: no chunk of the vocabulary fits. Four of the sixteen positions are never reached.
CONFIG = {
    "n_layer": 2,
    "n_head": 2,
    "n_embd": 12,
    "vocab_size": 41,
    "n_positions": 16,
    "activation_function": "gelu_new",
}
TINY_CONFIG = CONFIG | {"n_embd": 4, "vocab_size": 32, "n_positions": 8}


def build(config: dict, seed: int) -> GPT2LMHeadModel:
    """A GPT-2 in double precision whose values are those of a float32 checkpoint."""
    model = GPT2LMHeadModel(
        GPT2Config(
            **config,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            bos_token_id=0,
            eos_token_id=0,
            use_cache=False,
            attn_implementation="eager",
        )
    )
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if name.split(".")[-2] in ("ln_1", "ln_2", "ln_f"):
                parameter.copy_(0.3 * noise + (1.0 if name.endswith("weight") else 0.0))
            else:
                parameter.copy_(0.3 * noise)
    return model.double()


def batch(vocab: int, seed: int) -> tuple[Tensor, Tensor]:
    """Tokens and targets, both `[BATCH, SEQ]` and unrelated to each other."""
    generator = torch.Generator().manual_seed(seed)
    tokens, targets = torch.randint(vocab, (2, BATCH, SEQ), generator=generator)
    return tokens, targets


def logits_and_loss(model: nn.Module, tokens: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    logits = model(tokens).logits
    return logits, F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def bare(name: str) -> str:
    return name.removeprefix("transformer.")


def reference(model: GPT2LMHeadModel, tokens: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """Logits, loss and the gradient of every parameter that has one."""
    model.zero_grad()
    logits, loss = logits_and_loss(model, tokens, targets)
    loss.backward()
    out = {"logits": logits, "loss": loss.reshape(1)}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            out[f"grad.{bare(name)}"] = parameter.grad
    return {name: tensor.detach().clone() for name, tensor in out.items()}


def adamw_losses(model: GPT2LMHeadModel, tokens: Tensor, targets: Tensor) -> Tensor:
    optimiser = torch.optim.AdamW(model.parameters(), foreach=False, **ADAMW)
    losses = []
    for _ in range(ADAMW_STEPS):
        optimiser.zero_grad()
        _, loss = logits_and_loss(model, tokens, targets)
        losses.append(loss.detach())
        loss.backward()
        optimiser.step()
    losses.append(logits_and_loss(model, tokens, targets)[1].detach())
    return torch.stack(losses)


class Lora(nn.Module):
    """`base(x) + scale * x A^T B^T`, the delta added to one slice of the output channels."""

    def __init__(self, base: nn.Module, deltas: dict[str, tuple[Tensor, Tensor, int]]):
        super().__init__()
        self.base = base.requires_grad_(False)
        self.starts = {name: start for name, (_, _, start) in deltas.items()}
        for name, (a, b, _) in deltas.items():
            self.register_parameter(f"{name}_A", nn.Parameter(a.clone()))
            self.register_parameter(f"{name}_B", nn.Parameter(b.clone()))

    def forward(self, x: Tensor) -> Tensor:
        y = self.base(x)
        for name, start in self.starts.items():
            a, b = getattr(self, f"{name}_A"), getattr(self, f"{name}_B")
            delta = LORA_SCALE * (x @ a.T) @ b.T
            y = y + F.pad(delta, (start, y.shape[-1] - start - delta.shape[-1]))
        return y


def lora_weights(config: dict, seed: int) -> dict[str, Tensor]:
    """Random A and B for every site, B too, so that no gradient vanishes."""
    width, vocab = config["n_embd"], config["vocab_size"]
    sites = {f"h.{i}.attn.{s}": width for i in range(config["n_layer"]) for s in "qv"}
    sites["lm_head"] = vocab
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for site, outputs in sites.items():
        weights[f"{site}.lora_A"] = 0.3 * torch.randn(LORA_RANK, width, generator=generator)
        weights[f"{site}.lora_B"] = 0.3 * torch.randn(outputs, LORA_RANK, generator=generator)
    return weights


def adapted(model: GPT2LMHeadModel, weights: dict[str, Tensor]) -> GPT2LMHeadModel:
    """Freeze `model` and wrap its sites; the embedding tied to the head gets no delta."""
    width = model.config.n_embd
    model.requires_grad_(False)
    for i, block in enumerate(model.transformer.h):
        deltas = {
            s: (weights[f"h.{i}.attn.{s}.lora_A"], weights[f"h.{i}.attn.{s}.lora_B"], start)
            for s, start in (("q", 0), ("v", 2 * width))
        }
        block.attn.c_attn = Lora(block.attn.c_attn, deltas)
    head = (weights["lm_head.lora_A"], weights["lm_head.lora_B"], 0)
    model.lm_head = Lora(model.lm_head, {"lm_head": head})
    return model


def lora_reference(model: GPT2LMHeadModel, tokens: Tensor, targets: Tensor) -> dict[str, Tensor]:
    out = {}
    for name, tensor in reference(model, tokens, targets).items():
        if name.startswith("grad."):
            site = name.replace("c_attn.", "").replace("lm_head.lm_head", "lm_head")
            name = f"{site[:-2]}.lora{site[-2:]}"
        out[name] = tensor
    return out


def without_biases(model: GPT2LMHeadModel) -> GPT2LMHeadModel:
    """Zero every bias, those of the layer norms included."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.zero_()
    return model


def in_single(compute: Callable[[torch.dtype], dict[str, Tensor]]) -> dict[str, Tensor]:
    """The float32 result, after a comparison with the float64 one."""
    single, double = compute(torch.float32), compute(torch.float64)
    for name, expected in double.items():
        error = (single[name] - expected).abs().max() / expected.abs().max()
        assert error < TOLERANCE, f"{name}: float32 is {error:.1e} from float64"
    return single


def write(path: Path, tensors: dict[str, Tensor], about: dict) -> None:
    # One metadata entry: safetensors does not order several, and a rerun should not differ.
    versions = {m.__name__: m.__version__ for m in (torch, transformers, safetensors, numpy)}
    metadata = {"about": json.dumps({"versions": versions} | about)}
    save_file({name: t.contiguous() for name, t in tensors.items()}, path, metadata=metadata)


def write_parity(out: Path) -> None:
    tokens, targets = batch(CONFIG["vocab_size"], seed=1)
    model = build(CONFIG, seed=0).float()
    weights = {bare(name): p.detach() for name, p in model.named_parameters()}
    adapters = lora_weights(CONFIG, seed=2)

    def plain(dtype: torch.dtype) -> dict[str, Tensor]:
        return reference(build(CONFIG, seed=0).to(dtype), tokens, targets)

    def optimised(dtype: torch.dtype) -> dict[str, Tensor]:
        return {"adamw.losses": adamw_losses(build(CONFIG, seed=0).to(dtype), tokens, targets)}

    def exact_gelu(dtype: torch.dtype) -> dict[str, Tensor]:
        model = build(CONFIG | {"activation_function": "gelu"}, seed=0).to(dtype)
        kept = ("logits", "loss", "grad.h.0.mlp.c_fc.weight")
        found = reference(model, tokens, targets)
        return {f"gelu.{name}": found[name] for name in kept}

    def no_bias(dtype: torch.dtype) -> dict[str, Tensor]:
        found = reference(without_biases(build(CONFIG, seed=0)).to(dtype), tokens, targets)
        return {f"no_bias.{name}": found[name] for name in ("logits", "loss")}

    def lora(dtype: torch.dtype) -> dict[str, Tensor]:
        model = adapted(build(CONFIG, seed=0), adapters).to(dtype)
        return lora_reference(model, tokens, targets)

    tensors = weights | {"tokens": tokens, "targets": targets}
    for part in (plain, optimised, exact_gelu, no_bias):
        tensors |= in_single(part)
    write(out / "parity.safetensors", tensors, {"config": CONFIG, "adamw": ADAMW})
    about = {"config": CONFIG, "r": LORA_RANK, "alpha": LORA_ALPHA, "base": "parity.safetensors"}
    write(out / "lora.safetensors", adapters | in_single(lora), about)


def write_checkpoints(out: Path) -> None:
    folders = [out / f"tiny-hf{suffix}" for suffix in ("", "-bin", "-sharded")]
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    whole, pickled, sharded = folders
    model = build(TINY_CONFIG, seed=3).float()
    model.save_pretrained(whole)
    model.save_pretrained(sharded, max_shard_size="1KB")
    for folder in (whole, sharded):
        (folder / "generation_config.json").unlink(missing_ok=True)

    # As old releases of transformers wrote it: the tied head and the causal masks are in the file.
    pickled.mkdir()
    model.config.save_pretrained(pickled)
    state = dict(model.state_dict())
    context = TINY_CONFIG["n_positions"]
    for i in range(TINY_CONFIG["n_layer"]):
        mask = torch.ones(context, context, dtype=torch.uint8).tril()
        state[f"transformer.h.{i}.attn.bias"] = mask.view(1, 1, context, context)
        state[f"transformer.h.{i}.attn.masked_bias"] = torch.tensor(-1e4)
    torch.save(state, pickled / "pytorch_model.bin")

    tokens = torch.tensor([[0, 31, 7, 7, 19, 2, 30, 11]])

    def logits(dtype: torch.dtype) -> dict[str, Tensor]:
        with torch.no_grad():
            return {"logits": build(TINY_CONFIG, seed=3).to(dtype)(tokens).logits}

    expected = {"tokens": tokens} | in_single(logits)
    write(out / "expected.safetensors", expected, {"config": TINY_CONFIG})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=FIXTURES)
    out = parser.parse_args().out
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    transformers.utils.logging.disable_progress_bar()
    out.mkdir(parents=True, exist_ok=True)
    write_parity(out)
    write_checkpoints(out)

    sizes = {p.relative_to(out): p.stat().st_size for p in sorted(out.rglob("*")) if p.is_file()}
    for path, size in sizes.items():
        print(f"{size:>7}  {path}")
    total = sum(sizes.values())
    print(f"{total:>7}  in all")
    assert total < BUDGET_BYTES, f"{total} bytes, and the fixtures may take {BUDGET_BYTES}"


if __name__ == "__main__":
    main()
