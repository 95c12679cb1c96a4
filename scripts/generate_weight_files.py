# /// script
# requires-python = ">=3.10"
# dependencies = ["torch==2.15.0", "safetensors==0.8.0", "numpy==2.4.6", "onnx==1.23.2"]
# ///
"""Write one small checkpoint in every format that `weight-files` reads.

    uv run scripts/generate_weight_files.py

Everything goes to `crates/weight-files/tests/fixtures` (or `--out DIR`), below 100 kB altogether,
the same bytes from every run with the pinned versions (but for `legacy.pt`, whose storages are named
by their addresses in memory). `expected.safetensors` holds every tensor of the checkpoint whose
elements are read, converted to single precision by PyTorch; the 8-bit floats are all 256 codes of
their types. The formats:

model.safetensors       all tensors
sharded/                the same in two files with an index
model.pt, protocol4.pt  `torch.save` of the state dict
legacy.pt               the stream that PyTorch wrote before 1.6
nested.pt               a training checkpoint: the tensors below `model`, beside settings
views.pt                transposed, sliced, shared and repeated storages; a parameter
kinds.pt                a tensor beside one stored sparsely, one quantised and one of complex numbers
module.pt               a whole `torch.nn.Sequential`
sharded-bin/            the state dict in two files with an index
raw.onnx, typed.onnx    initialisers in `raw_data` and in the fields for their types
external.onnx           initialisers in `external.onnx.data`
model.npz, deflated.npz the types that NumPy has; one matrix in Fortran's order, one big-endian
c.npy fortran.npy big.npy   one matrix in three layouts
"""

import argparse
import json
import shutil
from argparse import Namespace
from pathlib import Path

import numpy
import onnx
import torch
from onnx import TensorProto, helper
from safetensors.torch import save_file
from torch import Tensor, nn

FIXTURES = Path(__file__).resolve().parents[1] / "crates/weight-files/tests/fixtures"
BUDGET_BYTES = 100_000
MATRIX = "h.2.attn.c_attn.weight"
LAYOUTS = {MATRIX: "fortran", "h.10.ln_1.weight": "big"}

ONNX_TYPES = {
    torch.float64: TensorProto.DOUBLE,
    torch.float32: TensorProto.FLOAT,
    torch.float16: TensorProto.FLOAT16,
    torch.bfloat16: TensorProto.BFLOAT16,
    torch.float8_e4m3fn: TensorProto.FLOAT8E4M3FN,
    torch.float8_e4m3fnuz: TensorProto.FLOAT8E4M3FNUZ,
    torch.float8_e5m2: TensorProto.FLOAT8E5M2,
    torch.float8_e5m2fnuz: TensorProto.FLOAT8E5M2FNUZ,
    torch.int64: TensorProto.INT64,
    torch.bool: TensorProto.BOOL,
}


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def model() -> dict[str, Tensor]:
    special = torch.tensor([0.0, -0.0, torch.inf, -torch.inf, torch.nan, 6e-8])
    codes = torch.arange(256, dtype=torch.int32).to(torch.uint8).reshape(16, 16)
    return {
        "scale": torch.tensor(0.1, dtype=torch.float32),
        "wte.weight": normal(1, 7, 5).float(),
        MATRIX: normal(2, 4, 6).float(),
        "h.2.conv.weight": normal(3, 2, 3, 4),
        "h.10.attn.c_attn.weight": normal(4, 3, 5).half(),
        "h.10.attn.c_proj.weight": normal(5, 5, 3).bfloat16(),
        "h.10.ln_1.weight": special.half(),
        "h.10.ln_1.bias": torch.empty(0, 3),
        "f8.e4m3": codes.clone().view(torch.float8_e4m3fn),
        "f8.e4m3fnuz": codes.clone().view(torch.float8_e4m3fnuz),
        "f8.e5m2": codes.clone().view(torch.float8_e5m2),
        "f8.e5m2fnuz": codes.clone().view(torch.float8_e5m2fnuz),
        "h.2.attn.mask": torch.tensor([[True, False], [True, True]]),
        "steps": torch.tensor([1, -2, 3]),
    }


def raw(tensor: Tensor) -> bytes:
    contiguous = tensor.contiguous().reshape(-1)
    return contiguous.view(torch.uint8).numpy().tobytes() if contiguous.numel() else b""


def onnx_tensor(name: str, tensor: Tensor, is_raw: bool) -> TensorProto:
    data_type, shape = ONNX_TYPES[tensor.dtype], list(tensor.shape)
    if is_raw:
        return helper.make_tensor(name, data_type, shape, raw(tensor), raw=True)
    proto = TensorProto(name=name, data_type=data_type, dims=shape)
    match tensor.dtype:
        case torch.float64:
            proto.double_data.extend(tensor.reshape(-1).tolist())
        case torch.float32:
            proto.float_data.extend(tensor.reshape(-1).tolist())
        case torch.int64:
            proto.int64_data.extend(tensor.reshape(-1).tolist())
        case _:  # the bits of an element each
            kind = numpy.uint16 if tensor.element_size() == 2 else numpy.uint8
            proto.int32_data.extend(numpy.frombuffer(raw(tensor), kind).tolist())
    return proto


def save_onnx(tensors: dict[str, Tensor], path: Path, is_raw: bool) -> onnx.ModelProto:
    initializers = [onnx_tensor(name, tensor, is_raw) for name, tensor in tensors.items()]
    graph = helper.make_graph([], "weights", [], [], initializers)
    proto = helper.make_model(graph, producer_name="weight-files")
    path.write_bytes(proto.SerializeToString(deterministic=True))
    return proto


def numpy_array(name: str, tensor: Tensor) -> numpy.ndarray:
    array = tensor.numpy()
    match LAYOUTS.get(name):
        case "fortran":
            return numpy.asfortranarray(array)
        case "big":
            return array.astype(array.dtype.newbyteorder(">"))
        case _:
            return array


def halves(tensors: dict[str, Tensor]) -> list[dict[str, Tensor]]:
    names = sorted(tensors)
    middle = len(names) // 2
    return [{name: tensors[name] for name in half} for half in (names[:middle], names[middle:])]


def save_index(path: Path, shards: dict[str, dict[str, Tensor]]) -> None:
    weight_map = {tensor: name for name, shard in shards.items() for tensor in shard}
    index = {"metadata": {"total_size": 0}, "weight_map": weight_map}
    path.write_text(json.dumps(index, indent=1) + "\n")


def save_all(out: Path) -> None:
    tensors = model()
    is_read = lambda it: it.dtype.is_floating_point
    expected = {name: it.to(torch.float32) for name, it in tensors.items() if is_read(it)}
    save_file(expected, out / "expected.safetensors")
    save_file(tensors, out / "model.safetensors")

    sharded = out / "sharded"
    sharded.mkdir()
    names = [f"model-{i}-of-2.safetensors" for i in (1, 2)]
    shards = dict(zip(names, halves(tensors)))
    for name, shard in shards.items():
        save_file(shard, sharded / name)
    save_index(sharded / "model.safetensors.index.json", shards)

    torch.save(tensors, out / "model.pt")
    torch.save(tensors, out / "protocol4.pt", pickle_protocol=4)
    torch.save(tensors, out / "legacy.pt", _use_new_zipfile_serialization=False)
    args = Namespace(lr=numpy.float64(0.1), out=Path("runs"), seeds={1, 2})
    torch.save({"model": tensors, "epoch": 3, "args": args}, out / "nested.pt")
    matrix = tensors[MATRIX]
    views = {
        "whole": matrix,
        "same": matrix,
        "transposed": matrix.T,
        "sliced": matrix[1:, 1::2],
        "row": matrix[2],
        "repeated": matrix[:1].expand(3, 6),
        "parameter": nn.Parameter(matrix),
        "list": [matrix[0], {"last": matrix[-1]}],
    }
    torch.save(views, out / "views.pt")
    kinds = {
        "weight": matrix,
        "sparse": matrix.to_sparse(),
        "quantized": torch.quantize_per_tensor(matrix, 0.1, 0, torch.qint8),
        "complex": matrix.to(torch.complex64),
    }
    torch.save(kinds, out / "kinds.pt")
    with torch.random.fork_rng():
        torch.manual_seed(6)
        module = nn.Sequential(nn.Linear(3, 2), nn.Sequential(nn.BatchNorm1d(2)))
    torch.save(module, out / "module.pt")
    save_file(dict(module.state_dict()), out / "module.safetensors")
    sharded = out / "sharded-bin"
    sharded.mkdir()
    names = [f"pytorch_model-{i}-of-2.bin" for i in (1, 2)]
    shards = dict(zip(names, halves(tensors)))
    for name, shard in shards.items():
        torch.save(shard, sharded / name)
    save_index(sharded / "pytorch_model.bin.index.json", shards)

    save_onnx(tensors, out / "typed.onnx", is_raw=False)
    proto = save_onnx(tensors, out / "raw.onnx", is_raw=True)
    outside = {"save_as_external_data": True, "location": "external.onnx.data", "size_threshold": 0}
    onnx.save(proto, out / "external.onnx", **outside)

    is_known = lambda it: it.dtype != torch.bfloat16 and not str(it.dtype).startswith("torch.float8")
    arrays = {name: it for name, it in tensors.items() if is_known(it)}
    arrays = {name: numpy_array(name, it) for name, it in arrays.items()}
    numpy.savez(out / "model.npz", **arrays)
    numpy.savez_compressed(out / "deflated.npz", **arrays)
    numpy.save(out / "c.npy", matrix.numpy())
    numpy.save(out / "fortran.npy", numpy.asfortranarray(matrix.numpy()))
    numpy.save(out / "big.npy", matrix.numpy().astype(">f4"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=FIXTURES)
    out = parser.parse_args().out
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    save_all(out)
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    if size > BUDGET_BYTES:
        raise SystemExit(f"{size} bytes, the budget is {BUDGET_BYTES}")
    print(f"{size} bytes in {out}")


if __name__ == "__main__":
    main()
