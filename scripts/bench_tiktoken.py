# /// script
# requires-python = ">=3.10"
# dependencies = ["tiktoken"]
# ///
"""GPT-2 tokenisation, ours against Python's tiktoken: the same text, one core each, one after the other.

    uv run scripts/bench_tiktoken.py [--megabytes 50] [--text FILE.jsonl]

Without --text, the text is Rust and Markdown sources from the local cargo registry, a document per
file. tiktoken's merge ranks come from the assets of the tiktoken-rs crate, so that nothing is
downloaded. Both sides must produce the same tokens; the script fails if they do not.
"""

import argparse
import base64
import hashlib
import json
import pathlib
import subprocess
import sys
import tempfile
import time
from array import array

import tiktoken

ROOT = pathlib.Path(__file__).resolve().parent.parent
PATTERN = (
    r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"
)


def crate_directory(name: str) -> pathlib.Path:
    """Where cargo unpacked the sources of a dependency."""
    command = ["cargo", "metadata", "--format-version", "1", "--locked", "--offline"]
    metadata = json.loads(subprocess.check_output(command, cwd=ROOT))
    [manifest] = [it["manifest_path"] for it in metadata["packages"] if it["name"] == name]
    return pathlib.Path(manifest).parent


def registry_text(registry: pathlib.Path, limit: int) -> list[str]:
    """UTF-8 documents of the registry's crates in the order of their paths, up to `limit` bytes."""
    documents, size = [], 0
    for path in sorted(registry.rglob("*")):
        if path.suffix in {".rs", ".md"} and path.is_file():
            try:
                text = path.read_bytes().decode()
            except UnicodeDecodeError:
                continue
            documents.append(text)
            size += len(text.encode())
            if size >= limit:
                break
    return documents


def encoding(assets: pathlib.Path) -> tiktoken.Encoding:
    lines = (assets / "r50k_base.tiktoken").read_bytes().splitlines()
    ranks = {base64.b64decode(token): int(rank) for token, rank in map(bytes.split, lines)}
    return tiktoken.Encoding(
        name="r50k_base",
        explicit_n_vocab=50257,
        pat_str=PATTERN,
        mergeable_ranks=ranks,
        special_tokens={"<|endoftext|>": 50256},
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=float, default=50)
    parser.add_argument("--text", type=pathlib.Path, help="JSON Lines with a field `text`")
    arguments = parser.parse_args()

    crate = crate_directory("tiktoken-rs")
    with tempfile.TemporaryDirectory() as directory:
        if arguments.text:
            file = arguments.text.resolve()
            with file.open(encoding="utf-8") as lines:
                documents = [json.loads(line)["text"] for line in lines]
        else:
            documents = registry_text(crate.parent, int(arguments.megabytes * 1e6))
            file = pathlib.Path(directory) / "text.jsonl"
            with file.open("w", encoding="utf-8") as lines:
                lines.writelines(json.dumps({"text": text}) + "\n" for text in documents)

        build = ["cargo", "bench", "--profile", "dev", "-p", "corpus", "--bench", "build"]
        subprocess.run([*build, "--no-run"], cwd=ROOT, check=True)
        report = subprocess.check_output([*build, "--", str(file)], cwd=ROOT, text=True)
    print(report, end="")
    rows = [line.split("\t") for line in report.splitlines() if "\t" in line]
    ours = next(row for row in rows if row[0] == "gpt2, 1 thread")

    gpt2 = encoding(crate / "assets")
    size = sum(len(text.encode()) for text in documents)
    start = time.perf_counter()
    encoded = [gpt2.encode_ordinary(text) for text in documents]
    speed = size / 1e6 / (time.perf_counter() - start)
    tokens = array("H")
    for document in encoded:
        tokens.extend(document)
    if sys.byteorder == "big":
        tokens.byteswap()
    digest = hashlib.sha256(tokens.tobytes()).hexdigest()
    print(f"Python tiktoken {tiktoken.__version__}\t{speed:.2f}\t{len(tokens)}\t{digest}")
    if ours[3] != digest:
        sys.exit("error: the tokens differ")
    print(f"ours over tiktoken, per core: {float(ours[1]) / speed:.2f}")


if __name__ == "__main__":
    main()
