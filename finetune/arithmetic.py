"""In which types a device computes by itself: what it only imitates takes it many times as long."""

from functools import cache

import torch


def usable_dtype(wanted: str, device: torch.device, notes: list[str]) -> torch.dtype:
    """The dtype that was asked for, or float32, with a note, where the device only imitates it."""
    dtype: torch.dtype = getattr(torch, wanted)
    if not multiplies(dtype, device.type):
        notes.append(f"this {device.type.upper()} has no {wanted} arithmetic and would imitate it; float32 is used")
        return torch.float32
    return dtype


def imitated(dtype: torch.dtype, device: torch.device) -> str | None:
    """A line for those whose device only imitates the dtype, where nothing spares them that; None where it need not."""
    if multiplies(dtype, device.type):
        return None
    name = str(dtype).removeprefix("torch.")
    return f"this {device.type.upper()} has no {name} arithmetic and imitates it: --dtype float32 is many times as fast"


@cache
def multiplies(dtype: torch.dtype, device: str) -> bool:
    """Whether a device of this type multiplies matrices of this dtype by itself."""
    if device == "cuda" and dtype == torch.bfloat16:
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device == "cpu" and dtype == torch.bfloat16:
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported() or _is_arm_with_bf16()
    if device == "cpu" and dtype == torch.float16:
        return bool(torch.ops.mkldnn._is_mkldnn_fp16_supported())
    return True


def _is_arm_with_bf16() -> bool:
    import platform

    return platform.machine() in ("arm64", "aarch64") and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
