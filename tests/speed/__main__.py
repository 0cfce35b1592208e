"""`make speed`: the peer and us in turn on the same work, and the ratio, which alone counts on a noisy machine."""

import argparse
import json
import logging
import os
import tempfile
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false", TRANSFORMERS_VERBOSITY="error")

import torch

from tests.speed import compare, finetune, judge, mmlu, respond
from tests.speed.machine import peak_flops
from tests.speed.model import make_model


def main() -> None:
    """Measure, print a table or, with `--json`, a list of objects."""
    parser = argparse.ArgumentParser(prog="python -m tests.speed")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--model", type=Path, help="GPT-2 folder; default: one with random weights")
    parser.add_argument("--mmlu", type=Path, help="MMLU in the CSV layout; default: the embedded quiz")
    parser.add_argument("--subjects", help="comma-separated")
    parser.add_argument("--limit", type=int, default=8, help="questions of each subject")
    parser.add_argument("--only", choices=["finetune", "mmlu", "respond", "judge", "compare"], help="one of them")
    parser.add_argument("--instructions", type=Path, help="entries to learn and to answer; default: the embedded ones")
    parser.add_argument("--first", type=int, default=0, help="the first entry that is answered")
    parser.add_argument("--rounds", type=int, default=1, help="of answering, judging, comparing; the median counts")
    parser.add_argument("--steps", type=int, default=8, help="of fine-tuning, beside the first")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtypes", default="float32")
    parser.add_argument("--threads", type=int, default=2)
    flags = parser.parse_args()
    torch.set_num_threads(flags.threads)
    logging.disable(logging.WARNING)
    rows = [*_rows(flags)]
    if flags.json:
        print(json.dumps(rows, indent=1))
    for row in [] if flags.json else rows:
        share = f"{row['peak_share']:.0%} of peak" if row["peak_share"] else ""
        numbers = f"ours {row['ours']:8.1f}  peer {row['peer']:8.1f}  ratio {row['ratio']:5.2f}"
        print(f"{row['work']:52} {row['dtype']:9} {numbers}  {share} {row['note']}".rstrip())


def _works(flags: argparse.Namespace, folder: Path, dtype: str) -> Iterator[tuple[str, Iterator[dict[str, Any]]]]:
    """Each measure by its name; nothing is run before its rows are asked for."""
    machine = {"device": flags.device, "threads": flags.threads}
    yield "finetune", finetune.measure(folder, dtype, data=flags.instructions, steps=flags.steps, **machine)
    questions = {"data": flags.mmlu, "subjects": flags.subjects, "limit": flags.limit}
    yield "mmlu", mmlu.measure(folder, dtype, **questions, **machine)
    answers = {"data": flags.instructions, "first": flags.first, "rounds": flags.rounds}
    yield "respond", respond.measure(folder, dtype, **answers, **machine)
    if dtype == "float32":  # no model computes anything in these
        yield "judge", judge.measure(flags.rounds)
        yield "compare", compare.measure(flags.rounds)


def _rows(flags: argparse.Namespace) -> Iterator[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as scratch:
        folder = flags.model or make_model(Path(scratch) / "gpt2")
        for dtype in flags.dtypes.split(","):
            peak = peak_flops(getattr(torch, dtype), flags.device)
            measured = chain.from_iterable(
                work for name, work in _works(flags, folder, dtype) if flags.only in (None, name)
            )
            for row in measured:
                flops = row.pop("flops")
                yield row | {"peak_share": flops / peak if flops else None}


if __name__ == "__main__":
    main()
