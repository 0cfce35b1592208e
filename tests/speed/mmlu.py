"""Five-shot MMLU-format questions a second: lm-eval's own `hf` model and ours, on the same tasks in turn."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks.native_lm import NativeLM
from benchmarks.presets import mmlu_tasks, quiz_tasks
from benchmarks.run import run_tasks
from finetune.checkpoint import load_checkpoint

Items = dict[tuple[str, str], list[float]]


def measure(folder: Path, dtype: str, *, data: Path | None, subjects: list[str] | None, limit: int) -> Iterator[Any]:
    """Both sides once; yields one row of the table."""
    from importlib.resources import files

    from lm_eval.models.huggingface import HFLM

    quiz = Path(str(files("benchmarks"))) / "data" / "quiz"
    specs = mmlu_tasks(subjects, data) if data else quiz_tasks(quiz)
    theirs, peer_seconds = _run(HFLM(pretrained=str(folder), device="cpu", batch_size=8, dtype=dtype), specs, limit)
    loaded = load_checkpoint(folder, dtype=getattr(torch, dtype))
    ours, our_seconds = _run(NativeLM(loaded.model, loaded.tokenizer), specs, limit)
    worst = max(abs(a - b) for key in ours for a, b in zip(ours[key], theirs[key], strict=True))
    differ = sum(_best(ours[key]) != _best(theirs[key]) for key in ours)
    yield {
        "work": f"mmlu, {len(ours)} questions, 5-shot (questions/s)",
        "dtype": dtype,
        "ours": len(ours) / our_seconds,
        "peer": len(ours) / peer_seconds,
        "ratio": peer_seconds / our_seconds,
        "flops": None,
        "note": f"{differ} predictions differ, log-likelihoods by at most {worst:.1e}",
    }


def _run(lm: Any, specs: Any, limit: int) -> tuple[Items, float]:
    found: Items = {}
    began = time.perf_counter()
    run_tasks(
        lm,
        specs,
        shots=5,
        limit=limit,
        on_item=lambda item: found.update({(item.task, item.item_id): item.loglikelihoods or []}),
    )
    return found, time.perf_counter() - began


def _best(loglikelihoods: list[float]) -> int:
    return max(range(len(loglikelihoods)), key=loglikelihoods.__getitem__)
