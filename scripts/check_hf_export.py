# /// script
# requires-python = ">=3.10"
# dependencies = ["torch==2.15.0", "transformers==5.23.0", "safetensors==0.8.0", "numpy==2.4.6"]
# ///
"""Open a saved checkpoint folder with `transformers`, and compare its logits.

    uv run scripts/check_hf_export.py DIR [EXPECTED.safetensors]

The folder must load into `GPT2LMHeadModel` with no key missing, unexpected or of another shape, and
with the output head tied to the embedding. EXPECTED holds `tokens` [batch, seq] and the `logits`
[batch, seq, vocab] that the saving side computed; theirs and PyTorch's may differ by 1e-5 of the
largest logit. Exit code 1, and a line per fault, when anything is wrong.
"""

import argparse
import sys
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file
from transformers import GPT2LMHeadModel

TOLERANCE = 1e-5


def faults(folder: Path, expected: Path | None) -> list[str]:
    model, info = GPT2LMHeadModel.from_pretrained(
        folder,
        output_loading_info=True,
        ignore_mismatched_sizes=True,  # and report them below
        dtype=torch.float32,
        attn_implementation="eager",
    )
    found = [
        f"{kind.replace('_', ' ')}: {sorted(map(str, keys))}" for kind, keys in info.items() if keys
    ]
    if model.lm_head.weight is not model.transformer.wte.weight:
        found.append("the output head is not tied to the embedding")
    if expected is not None:
        reference = load_file(expected)
        with torch.inference_mode():
            logits = model.eval()(reference["tokens"].long()).logits
        if logits.shape != reference["logits"].shape:
            return [*found, f"logits: {list(reference['logits'].shape)}, not {list(logits.shape)}"]
        error = ((logits - reference["logits"]).abs().max() / logits.abs().max()).item()
        print(f"logits: relative error {error:.1e}")
        if not error <= TOLERANCE:
            found.append(f"logits: relative error {error:.1e}, and {TOLERANCE:.0e} is allowed")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("expected", type=Path, nargs="?", metavar="EXPECTED")
    args = parser.parse_args()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    found = faults(args.folder, args.expected)
    for fault in found:
        print(f"{args.folder}: {fault}", file=sys.stderr)
    if found:
        sys.exit(1)
    print(f"{args.folder}: every key fits")


if __name__ == "__main__":
    main()
