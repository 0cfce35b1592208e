"""What reading alone does not teach so small a model: to tie an answer to the letter before it.

Text gives a letter one token in fifty, and so many names stand before it that a small model never finds the
rule. Here only letters count, and the names or questions they stand for come a few at a time: the rule is
found on five names within a hundred steps, and then holds for all of them.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random

import torch
from torch import Tensor
from torch.nn import functional as F

from finetune.data.questions import LETTERS, Question, for_text, subjects
from finetune.data.reading import as_test_item, same_word
from finetune.data.world import things
from finetune.tokenizer import Tokenizer
from finetune.transformer import Transformer

Rows = list[str]
KNOWN = 0.75  # share of right letters at which more is asked
MEMORY = 40  # steps over which that share is taken


@dataclass
class Pool:
    """So many of the things there are to ask about; more as soon as these are known."""

    size: int
    growth: float
    shares: list[float] = field(default_factory=list)

    def saw(self, share: float) -> None:
        """Take note of a step's share of right letters, and grow when that is due."""
        self.shares.append(share)
        if len(self.shares) >= MEMORY and sum(self.shares[-MEMORY:]) / MEMORY > KNOWN:
            self.size = min(int(self.size * self.growth) + 1, 10_000)
            self.shares.clear()


def practise_letters(model: Transformer, tokenizer: Tokenizer, *, steps: int, learning_rate: float) -> None:
    """Labelled lists: four names with their letters, then names alone; which letter does each have?"""
    random, pool = Random(5), Pool(5, 2.0)
    names = [thing.name for thing in things()]
    random.shuffle(names)

    def rows() -> Rows:
        return [_labelled(random, random.sample(names[: pool.size], 4)) for _ in range(48)]

    for share in _steps(model, tokenizer, rows, steps=steps, learning_rate=learning_rate, beside=None):
        pool.saw(share)


def _labelled(random: Random, names: Sequence[str]) -> str:
    label = dict(zip(names, LETTERS, strict=True))
    listed = "\n".join(f"{letter}. {name}" for name, letter in label.items())
    asked = "\n".join(f"{name} Answer: {label[name]}" for name in random.choices(list(label), k=8))
    return f"{listed}\n{asked}"


def practise_tests(
    model: Transformer, tokenizer: Tokenizer, *, steps: int, learning_rate: float, reading: Iterator[Tensor]
) -> None:
    """Four-choice tests in MMLU's form, on questions that are not the quiz's, with reading in between.

    Args:
        model: After its reading.
        tokenizer: Its tokenizer.
        steps: Optimizer steps.
        learning_rate: At its highest; falls in a line to a tenth.
        reading: (B, T + 1) ids of text, one for every other step, so that nothing read is forgotten.
    """
    random, pool = Random(5), Pool(4, 1.7)
    questions = [list(for_text(subject)) for subject in subjects()]
    for own in questions:
        random.shuffle(own)
    warm_up, step = steps // 16, 0

    def ask(easy: bool) -> Question:
        return same_word(random) if easy else random.choice(random.choice(questions)[: pool.size])

    def is_easy() -> bool:
        return step < warm_up or step % 3 == 0

    def rows() -> Rows:
        asked = [[ask(is_easy()), ask(is_easy())] for _ in range(24)]
        return ["\n\n".join(as_test_item(question, random) for question in pair) for pair in asked]

    for share in _steps(model, tokenizer, rows, steps=steps, learning_rate=learning_rate, beside=reading):
        if not is_easy():
            pool.saw(share)
        step += 1


def _steps(
    model: Transformer,
    tokenizer: Tokenizer,
    rows: Callable[[], Rows],
    *,
    steps: int,
    learning_rate: float,
    beside: Iterator[Tensor] | None,
) -> Iterator[float]:
    """Optimizer steps on the letters of rows; yields the share of right ones after each."""
    encoded = [tokenizer.encode(f" {letter}") for letter in LETTERS]
    assert all(len(ids) == 1 for ids in encoded), "a letter after a space must be one token"
    letters = torch.tensor([ids[0] for ids in encoded])
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, betas=(0.9, 0.98), weight_decay=0, fused=True)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * min(1, (step + 1) / 50) * max(0.1, 1 - step / steps)
        inputs, targets = _padded([tokenizer.encode(row) for row in rows()], tokenizer.end_of_text)
        asked = torch.isin(targets, letters)  # (B, T)
        logits = model.head(model.hidden(inputs)[asked])  # (N, vocab)
        loss = F.cross_entropy(logits, targets[asked])
        if beside is not None and step % 2:
            text = next(beside)
            loss = 0.5 * loss + F.cross_entropy(model(text[:, :-1]).flatten(0, 1), text[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        chosen = letters[logits.detach()[:, letters].argmax(-1)]
        yield float((chosen == targets[asked]).float().mean())


def _padded(rows: Sequence[list[int]], pad: int) -> tuple[Tensor, Tensor]:
    """Inputs and targets (B, T) of rows of different length."""
    longest = max(map(len, rows))
    tokens = torch.tensor([[*row, *[pad] * (longest - len(row))] for row in rows])
    return tokens[:, :-1], tokens[:, 1:]
