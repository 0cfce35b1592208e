"""In which type a device computes: bf16 products over float32 weights where it has them."""

import torch


def usable_dtype(wanted: str, device: torch.device, notes: list[str]) -> torch.dtype:
    """The dtype that was asked for, or float32, with a note, where the device only imitates it."""
    dtype: torch.dtype = getattr(torch, wanted)
    if dtype == torch.bfloat16 and not has_bfloat16(device):
        notes.append(f"this {device.type.upper()} has no bfloat16 arithmetic and would imitate it; float32 is used")
        return torch.float32
    return dtype


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 matrices by itself."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        checks = (torch.cpu._is_avx512_bf16_supported, torch.cpu._is_amx_tile_supported, _is_arm_with_bf16)
        return any(has() for has in checks)
    return True


def _is_arm_with_bf16() -> bool:
    import platform

    return platform.machine() in ("arm64", "aarch64") and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
