"""Answers from checkpoints that our own transformer runs."""

import hashlib
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from finetune.segments import Style
from harness.checkpoints import Target

if TYPE_CHECKING:
    from finetune.checkpoint import Checkpoint
    from finetune.generate import Sampling
    from harness.respond import AnswerSettings, Asked


def ask_native(
    target: Target,
    todo: "Sequence[Asked]",
    settings: "AnswerSettings",
    style: Style,
    keep: Callable[..., None],
    say: Callable[[str], None] = lambda note: None,
) -> None:
    """Have a checkpoint give every answer wanted, and keep each as it ends; `say` hears of memory run out.

    Raises:
        FinetuneError: If the checkpoint cannot be loaded.
    """
    loaded = target.load(device=settings.device, dtype=settings.dtype, prepacked=True)
    write_native(loaded, todo, settings, style, keep, say)


def write_native(
    checkpoint: "Checkpoint",
    todo: "Sequence[Asked]",
    settings: "AnswerSettings",
    style: Style,
    keep: Callable[..., None],
    say: Callable[[str], None] = lambda note: None,
) -> None:
    """The same of a checkpoint that is loaded."""
    from finetune.examples import encode_prompt, stop_tokens
    from finetune.generate import fit_prompt, generate

    tokenizer, length = checkpoint.tokenizer, checkpoint.model.config.context_length
    prompts, cut = [], []
    for one in todo:
        tokens, was_cut = fit_prompt(encode_prompt(one.entry, style, tokenizer), length, settings.max_new_tokens)
        prompts.append(tokens)
        cut.append(was_cut)
    answers = generate(
        checkpoint.model,
        prompts,
        sampling_of(settings),
        stop_tokens=stop_tokens(style, tokenizer),
        batch_size=settings.batch_size,
        vocab_size=tokenizer.vocab_size,
        seeds=[seed_of(settings.seed, one) for one in todo],
        say=say,
    )
    before = time.monotonic()
    for index, written in answers:
        seconds, before = time.monotonic() - before, time.monotonic()
        keep(
            todo[index],
            text=tokenizer.decode(written.tokens),
            stop_reason=written.stop_reason,
            truncated=cut[index],
            prompt_tokens=len(prompts[index]),
            output_tokens=len(written.tokens),
            seconds=seconds,
        )


def sampling_of(settings: "AnswerSettings") -> "Sampling":
    """How the next token is chosen."""
    from finetune.generate import Sampling

    fields = ("max_new_tokens", "temperature", "top_k", "top_p", "seed")
    return Sampling(**{name: getattr(settings, name) for name in fields})


def seed_of(seed: int, asked: "Asked") -> int:
    """Random numbers of an answer depend on its item and sample, not on what else is asked."""
    text = f"{seed} {asked.entry.item_id} {asked.sample}"
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:7])
