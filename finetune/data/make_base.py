"""Make the tiny base model of the demo: train a tokenizer, then pretrain a small GPT-2 on `reading`'s text.

It reads, learns what letters before answers are for (`practice`), reads again, and takes tests.
Run as `python -m finetune.data.make_base`; it takes some forty minutes on two cores. Text and starting
weights follow from the seed; the arithmetic of another processor may round differently, so that a second
run gives a model as good as this one, not the same bytes.
"""

import argparse
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count, islice
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from finetune.checkpoint import Checkpoint, save_checkpoint
from finetune.data import words
from finetune.data.practice import practise_letters, practise_tests
from finetune.data.reading import documents
from finetune.data.world import things
from finetune.instructions import Entry
from finetune.presets import ModelConfig
from finetune.styles import STYLES, text_of
from finetune.tokenizer import Tokenizer, train_tokenizer
from finetune.transformer import Transformer

PATH = Path(__file__).with_name("base")
_TOKENIZER_SEED = 2


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How the base model is made.

    Attributes:
        vocab_size: Tokens, the end of text among them.
        context_length: Positions the model has: a five-shot quiz and a long answer must fit.
        width: Of the residual stream.
        n_layers: Blocks of the transformer.
        n_heads: Attention heads.
        step_tokens: Tokens of a step, in blocks whose length grows (see `block_length`).
        steps: Optimizer steps of the first reading.
        letter_steps: Of labelled lists.
        second_steps: Of the second reading.
        test_steps: Of four-choice tests, with reading in between.
        learning_rate: Of reading, at its highest; cosine to a twentieth, after a warm-up of one step in thirty.
        weight_decay: Of AdamW, on matrices only.
    """

    vocab_size: int = 2560
    context_length: int = 512
    width: int = 128
    n_layers: int = 4
    n_heads: int = 4
    step_tokens: int = 1024
    steps: int = 12_000
    letter_steps: int = 600
    second_steps: int = 3_600
    test_steps: int = 2_400
    learning_rate: float = 2.5e-3
    weight_decay: float = 0.05


def make_tokenizer(vocab_size: int, *, n_documents: int = 3_000, word_weight: int = 60) -> Tokenizer:
    """A tokenizer for the world's text that also knows the Alpaca template, which the text lacks.

    The words are listed besides, with and without a space before: an answer begins without one, and a word
    that is one token in both places is learnt in half the time.
    """
    template = text_of(STYLES["alpaca"].prompt(Entry(item_id="template", instruction="", input="x")))
    names = [*words.every_word(), *(thing.name for thing in things())]
    listed = [*names, *(f" {name}" for name in names)] * word_weight
    return train_tokenizer([*islice(documents(_TOKENIZER_SEED), n_documents), *[template] * 200, *listed], vocab_size)


def start(model: Transformer) -> None:
    """Starting weights for a model this small; training changes all of them freely.

    GPT-2's deviation of 0.02 suits widths near 768 and leaves a width of 128 almost linear. From random
    positions such a model needs most of its time to find out which token stands before which, so they start
    from sines (Vaswani et al. 2017).
    """
    shape = model.config
    rates = math.pi * torch.exp(torch.linspace(0, -math.log(3000), shape.width // 2))  # (width / 2,)
    angles = torch.arange(shape.context_length)[:, None] * rates  # (T, width / 2)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() > 1:
                weight.mul_(4 if name == "tokens.weight" else 3)
        assert model.positions is not None
        model.positions.weight.copy_(0.08 * torch.cat([angles.sin(), angles.cos()], dim=1))


def block_length(done: float, settings: Settings) -> int:
    """Tokens of a block: short at first, since looking back is learnt fastest over short distances."""
    return settings.context_length // (4 if done < 0.6 else 2 if done < 0.85 else 1)


def token_stream(tokenizer: Tokenizer, seed: int) -> Iterator[int]:
    """Documents one after the other, each closed by the end of text."""
    texts = documents(seed)
    while True:
        for ids in tokenizer.encode_batch(list(islice(texts, 64))):
            yield from ids
            yield tokenizer.end_of_text


def pretrain(
    model: Transformer, tokenizer: Tokenizer, settings: Settings, *, steps: int, peak: float, seed: int
) -> float:
    """Read in place; the mean loss of the last hundred steps, in nats a token.

    Args:
        model: The model.
        tokenizer: Its tokenizer.
        settings: See `Settings`.
        steps: Optimizer steps.
        peak: The highest learning rate.
        seed: Of the text.
    """
    optimizer = _optimizer(model, settings)
    recent: list[float] = []
    stream = token_stream(tokenizer, seed)
    started = time.perf_counter()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = peak * rate_at(step, steps)
        length = block_length(step / steps, settings)
        rows = _block(stream, settings.step_tokens // length, length)
        recent = [*recent[-99:], _step(model, optimizer, rows)]
        if step % 100 == 99:
            seconds = time.perf_counter() - started
            print(f"step {step + 1}  loss {sum(recent) / len(recent):.3f}  {seconds:.0f} s", flush=True)
    return sum(recent) / max(1, len(recent))


def _block(stream: Iterator[int], size: int, length: int) -> Tensor:
    """(size, length + 1) ids of a stream."""
    return torch.tensor(list(islice(stream, size * (length + 1)))).view(size, length + 1)


def rate_at(step: int, steps: int) -> float:
    """The share of the highest learning rate at a step: a linear warm-up, then a cosine down to 0.05."""
    warm_up = max(1, steps // 30)
    if step < warm_up:
        return (step + 1) / warm_up
    done = (step - warm_up) / max(1, steps - warm_up)
    return 0.05 + 0.95 * (1 + math.cos(math.pi * done)) / 2


def _optimizer(model: Transformer, settings: Settings) -> torch.optim.Optimizer:
    matrices = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() <= 1]
    groups = [{"params": matrices, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(0.9, 0.98), fused=True)


def _step(model: Transformer, optimizer: torch.optim.Optimizer, rows: Tensor) -> float:
    # bfloat16 halves the time on processors that have it; weights and optimizer stay in float32.
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(rows[:, :-1])
    loss = F.cross_entropy(logits.float().flatten(0, 1), rows[:, 1:].flatten())
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return loss.item()


def make(folder: Path, settings: Settings) -> float:
    """The whole of it: tokenizer, model, training, folder. Returns the loss after reading, in nats a token."""
    torch.manual_seed(0)
    tokenizer = make_tokenizer(settings.vocab_size)
    shape = ModelConfig(
        vocab_size=settings.vocab_size,
        context_length=settings.context_length,
        width=settings.width,
        n_layers=settings.n_layers,
        n_heads=settings.n_heads,
    )
    model = Transformer(shape)
    start(model)
    pretrain(model, tokenizer, settings, steps=settings.steps, peak=settings.learning_rate, seed=1)
    practise_letters(model, tokenizer, steps=settings.letter_steps, learning_rate=1e-3)
    loss = pretrain(model, tokenizer, settings, steps=settings.second_steps, peak=1.5e-3, seed=1)
    stream = token_stream(tokenizer, 123)
    reading = (_block(stream, 8, 128) for _ in count())
    practise_tests(model, tokenizer, steps=settings.test_steps, learning_rate=1.2e-3, reading=reading)
    save_checkpoint(folder, Checkpoint(model, tokenizer), dtype=torch.float16)
    return loss


def main() -> None:
    """Read the two flags a trial run wants, and make the model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=PATH, help="folder to write")
    parser.add_argument("--scale", type=float, default=1.0, help="share of all steps to do; less for a trial")
    options = parser.parse_args()
    torch.set_num_threads(2)
    whole = Settings()
    stages = ("steps", "letter_steps", "second_steps", "test_steps")
    make(options.out, replace(whole, **{name: int(getattr(whole, name) * options.scale) for name in stages}))


if __name__ == "__main__":
    main()
