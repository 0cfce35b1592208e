"""Entries to batches: tokens, padding, targets shifted by one, and which of them are trained."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from finetune.instructions import Entry
from finetune.styles import Style
from finetune.tokenizer import Tokenizer

IGNORED = -100  # what cross_entropy leaves out


@dataclass(frozen=True)
class Example:
    """An entry as ids: prompt, answer, and the token that ends it; `prompt_length` of them are prompt."""

    tokens: list[int]
    prompt_length: int


@dataclass(frozen=True)
class Encoded:
    """Examples, and how many entries did not fit into the context.

    Attributes:
        examples: What is trained on.
        cut: Answers that lost their end; the part that fits is trained, without an end of text.
        dropped: Entries left out because the prompt alone fills the context.
    """

    examples: list[Example]
    cut: int
    dropped: int


def end_token(style: Style, tokenizer: Tokenizer) -> int:
    """The id that ends an answer in this style with this vocabulary."""
    control = tokenizer.control(style.end) if style.end else None
    return tokenizer.end_of_text if control is None else control


def stop_tokens(style: Style, tokenizer: Tokenizer) -> frozenset[int]:
    """Ids at which an answer is over."""
    return frozenset({end_token(style, tokenizer), tokenizer.end_of_text})


def encode_entries(entries: Sequence[Entry], style: Style, tokenizer: Tokenizer, context_length: int) -> Encoded:
    """Tokenise entries. Prompt and answer are encoded apart, as they are when the model is asked."""
    examples: list[Example] = []
    cut = dropped = 0
    end = end_token(style, tokenizer)
    answers = tokenizer.encode_batch([style.answer(entry) for entry in entries])
    for entry, answer in zip(entries, answers, strict=True):
        prompt = tokenizer.encode_template(style.pieces(entry))
        tokens = [*prompt, *answer, end]
        # The last token is only ever a target, so one more than the context fits.
        if len(prompt) > context_length:
            dropped += 1
            continue
        cut += len(tokens) > context_length + 1
        examples.append(Example(tokens[: context_length + 1], len(prompt)))
    return Encoded(examples, cut, dropped)


def collate(examples: Sequence[Example], *, pad: int, mask_prompt: bool) -> tuple[Tensor, Tensor]:
    """Pad to the longest: inputs (B, T) and targets (B, T), the inputs shifted by one.

    Padding in the targets is ignored, except that an answer's own end is kept; with `mask_prompt` the
    tokens of the prompt are ignored too, so that only the answer is learnt.
    """
    longest = max(len(e.tokens) for e in examples) - 1
    inputs = torch.full((len(examples), longest), pad)
    targets = torch.full((len(examples), longest), IGNORED)
    for row, example in enumerate(examples):
        tokens = torch.tensor(example.tokens)
        inputs[row, : len(tokens) - 1] = tokens[:-1]
        first = example.prompt_length - 1 if mask_prompt else 0  # the last prompt token predicts the answer
        targets[row, first : len(tokens) - 1] = tokens[first + 1 :]
    return inputs, targets


def batches(
    examples: Sequence[Example],
    *,
    batch_size: int,
    pad: int,
    mask_prompt: bool,
    generator: torch.Generator | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """All examples once, in file order or, with a generator, shuffled; see `collate`."""
    order = list(range(len(examples)))
    if generator is not None:
        order = torch.randperm(len(examples), generator=generator).tolist()
    for start in range(0, len(order), batch_size):
        chosen = [examples[i] for i in order[start : start + batch_size]]
        yield collate(chosen, pad=pad, mask_prompt=mask_prompt)
