"""Safetensors files written tensor by tensor, so that a model never stands in memory twice.

The format is eight bytes with the header's length, a JSON header with each tensor's type, shape and place,
and then their bytes: https://github.com/huggingface/safetensors#format.
"""

import json
from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

GIGABYTE = 10**9

_NAMES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}

Shapes = Mapping[str, tuple[int, ...]]


def write_shards(
    folder: Path,
    shapes: Shapes,
    tensors: Iterator[tuple[str, Tensor]],
    *,
    dtype: torch.dtype,
    max_shard_size: int = 5 * GIGABYTE,
) -> None:
    """Write `model.safetensors`, or numbered shards with the index by which transformers finds them.

    Args:
        folder: Where to.
        shapes: Every tensor's shape, in the order in which they come.
        tensors: The tensors, of this dtype and in that order; no more than two are held at once.
        dtype: Of all of them.
        max_shard_size: Bytes of tensors that a file holds at most, though always one tensor.
    """
    shards = _shards(shapes, dtype.itemsize, max_shard_size)
    if len(shards) == 1:
        names = ["model.safetensors"]
    else:
        names = [f"model-{n:05d}-of-{len(shards):05d}.safetensors" for n in range(1, len(shards) + 1)]
    for name, shard in zip(names, shards, strict=True):
        _write(folder / name, shard, tensors, dtype)
    if len(shards) > 1:
        count = sum(map(prod, shapes.values()))
        index = {
            "metadata": {"total_parameters": count, "total_size": count * dtype.itemsize},
            "weight_map": {tensor: name for name, shard in zip(names, shards, strict=True) for tensor in shard},
        }
        (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1), "utf-8")


def _shards(shapes: Shapes, itemsize: int, most: int) -> list[dict[str, tuple[int, ...]]]:
    shards: list[dict[str, tuple[int, ...]]] = [{}]
    held = 0
    for name, shape in shapes.items():
        size = prod(shape) * itemsize
        if shards[-1] and held + size > most:
            shards.append({})
            held = 0
        shards[-1][name] = shape
        held += size
    return shards


def _write(path: Path, shapes: Shapes, tensors: Iterator[tuple[str, Tensor]], dtype: torch.dtype) -> None:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, shape in shapes.items():
        after = at + prod(shape) * dtype.itemsize
        header[name] = {"dtype": _NAMES[dtype], "shape": shape, "data_offsets": [at, after]}
        at = after
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # so that the tensors begin where eight bytes do
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name, shape in shapes.items():
            came, tensor = next(tensors)
            assert (came, tuple(tensor.shape), tensor.dtype) == (name, shape, dtype)
            file.write(tensor.contiguous().flatten().view(torch.uint8).numpy().data)
