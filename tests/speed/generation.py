"""Greedy new tokens a second: transformers' `generate` and ours, on the same prompts in turn."""

import time
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch

from finetune.checkpoint import load_checkpoint
from finetune.examples import encode_prompt
from finetune.generate import Sampling, generate
from finetune.instructions import read_entries
from finetune.styles import STYLES
from tests.speed.model import parameters

PROMPTS, NEW = 32, 48


def measure(folder: Path, dtype: str) -> Iterator[Any]:
    """Both sides once; yields one row of the table. No answer ends early, so both write the same number."""
    checkpoint = load_checkpoint(folder, dtype=getattr(torch, dtype))
    entries = read_entries(Path(str(files("finetune"))) / "data" / "instructions.json")[:PROMPTS]
    prompts = [encode_prompt(e, STYLES["alpaca"], checkpoint.tokenizer) for e in entries]
    peer_seconds = _theirs(folder, prompts, dtype)
    began = time.perf_counter()
    list(generate(checkpoint.model, prompts, Sampling(max_new_tokens=NEW), stop_tokens=frozenset(), batch_size=PROMPTS))
    our_seconds = time.perf_counter() - began
    tokens = PROMPTS * NEW
    yield {
        "work": f"generate, {PROMPTS} prompts, {NEW} new tokens (tokens/s)",
        "dtype": dtype,
        "ours": tokens / our_seconds,
        "peer": tokens / peer_seconds,
        "ratio": peer_seconds / our_seconds,
        "flops": 2 * parameters(folder) * (tokens + sum(map(len, prompts))) / our_seconds,
        "note": "",
    }


@torch.inference_mode()
def _theirs(folder: Path, prompts: list[list[int]], dtype: str) -> float:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype)).eval()
    longest = max(map(len, prompts))
    tokens = torch.tensor([[0] * (longest - len(p)) + p for p in prompts])
    mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts])
    began = time.perf_counter()
    model.generate(tokens, attention_mask=mask, max_new_tokens=NEW, min_new_tokens=NEW, do_sample=False, pad_token_id=0)
    return time.perf_counter() - began
