"""Batched decoding with a key-value cache: greedy, or sampled by temperature, top-k and top-p."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from finetune.errors import FinetuneError
from finetune.transformer import KVCache, Transformer

StopReason = Literal["stop", "length", "context"]


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How the next token is chosen, and how many there may be.

    Attributes:
        max_new_tokens: Tokens an answer may have, the end of text not counted.
        temperature: 0 takes the likeliest token; otherwise logits are divided by it before sampling.
        top_k: Sample only among the k likeliest tokens; all when None.
        top_p: Sample only among the likeliest tokens that together have this probability
            (Holtzman et al. 2020, arXiv:1904.09751).
        seed: Where the random numbers of the first prompt start; the next prompt's start at seed + 1, unless
            `generate` is given seeds.
    """

    max_new_tokens: int = 256
    temperature: float = 0.0
    top_k: int | None = None
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        for flag, value, good in (
            ("--max-new-tokens", self.max_new_tokens, self.max_new_tokens >= 1),
            ("--temperature", self.temperature, self.temperature >= 0),
            ("--top-k", self.top_k, self.top_k is None or self.top_k >= 1),
            ("--top-p", self.top_p, 0 < self.top_p <= 1),
        ):
            if not good:
                raise FinetuneError(f"{flag} {value} is out of range")


@dataclass(frozen=True)
class Generated:
    """What a model wrote: ids without the one that ended it, and why it ended.

    "stop": an end-of-text token or the caller's own test; "length": `max_new_tokens` reached;
    "context": no position left in the model's context.
    """

    tokens: list[int]
    stop_reason: StopReason


Finished = Callable[[Sequence[int]], bool]


@torch.inference_mode()
def generate(
    model: Transformer,
    prompts: Sequence[Sequence[int]],
    sampling: Sampling,
    *,
    stop_tokens: frozenset[int],
    batch_size: int = 32,
    vocab_size: int | None = None,
    finished: Finished | None = None,
    seeds: Sequence[int] | None = None,
) -> Iterator[tuple[int, Generated]]:
    """Answer every prompt; yields (index of the prompt, answer) as answers end, longest prompts first.

    A prompt must leave room for one token at least: shorten it before (`fit_prompt`).

    Args:
        model: In eval mode.
        prompts: Token ids, none empty.
        sampling: See `Sampling`.
        stop_tokens: Ids that end an answer.
        batch_size: Prompts answered side by side.
        vocab_size: Ids from here on are never chosen (rows with which an embedding was padded).
        finished: Told an answer so far, says whether it ends here.
        seeds: Where each prompt's random numbers start, when an answer must not depend on its place.
    """
    seeds = seeds or range(sampling.seed, sampling.seed + len(prompts))
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]), reverse=True)
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size]
        rows = {i: (prompts[i], seeds[i]) for i in batch}
        yield from _Batch(model, rows, sampling, stop_tokens, vocab_size, finished).run()


def fit_prompt(prompt: Sequence[int], context_length: int, room: int) -> tuple[list[int], bool]:
    """The prompt's last tokens such that `room` new ones fit, and whether any were dropped.

    When the context is small, new tokens get at most half of it.
    """
    most = max(context_length - room, context_length // 2)
    return list(prompt[-most:]), len(prompt) > most


class _Batch:
    """Prompts decoded side by side; a row leaves as soon as its answer ends."""

    def __init__(
        self,
        model: Transformer,
        prompts: dict[int, tuple[Sequence[int], int]],
        sampling: Sampling,
        stop_tokens: frozenset[int],
        vocab_size: int | None,
        finished: Finished | None,
    ):
        self.model, self.sampling, self.stop_tokens = model, sampling, stop_tokens
        self.vocab_size, self.finished = vocab_size, finished
        self.rows = list(prompts)  # prompt of each row still being written
        self.prompts = [tokens for tokens, _ in prompts.values()]
        self.written: dict[int, list[int]] = {i: [] for i in prompts}
        self.room = {i: model.config.context_length - len(tokens) for i, (tokens, _) in prompts.items()}
        # A generator for each prompt: what is drawn for it does not depend on who shares its batch.
        self.random = {i: torch.Generator().manual_seed(seed) for i, (_, seed) in prompts.items()}

    def run(self) -> Iterator[tuple[int, Generated]]:
        logits = self._prefill()
        while self.rows:
            for row, token in zip(self.rows, self._choose(logits), strict=True):
                if token not in self.stop_tokens:
                    self.written[row].append(token)
                else:
                    yield row, Generated(self.written.pop(row), "stop")
            for row in [r for r in self.rows if r in self.written]:
                if reason := self._ended(row):
                    yield row, Generated(self.written.pop(row), reason)
            self._drop_ended()
            if self.rows:
                last = torch.tensor([[self.written[r][-1]] for r in self.rows], device=self.model.device)
                logits = self.model(last, self.cache)[:, -1]

    def _prefill(self) -> Tensor:
        """Read all prompts at once; logits (B, vocab) of the token after each."""
        lengths = torch.tensor([len(p) for p in self.prompts])
        longest = int(lengths.max())
        size = min(self.model.config.context_length, longest + self.sampling.max_new_tokens)
        device = self.model.device
        self.cache = KVCache(self.model.config, len(self.rows), size, device=device, dtype=self.model.dtype)
        tokens = torch.tensor([[*p, *[0] * (longest - len(p))] for p in self.prompts], device=device)  # (B, T)
        hidden = self.model.hidden(tokens, self.cache, lengths.to(device))
        return self.model.head(hidden[torch.arange(len(self.rows)), lengths - 1])

    def _choose(self, logits: Tensor) -> list[int]:
        if self.vocab_size is not None:
            logits = logits[:, : self.vocab_size]
        if logits.amax().isnan():
            # Such a model answers something, greedily, and it would be scored as if it were its opinion.
            raise FinetuneError(
                f"the model's scores are no numbers in {_name(logits)}: its weights are damaged, or too large for this "
                f"dtype; take another checkpoint, or --dtype float32"
            )
        if self.sampling.temperature == 0:
            return list(logits.argmax(-1).tolist())
        kept = _filtered(logits.float().cpu() / self.sampling.temperature, self.sampling)
        chances = kept.softmax(-1)
        return [
            int(torch.multinomial(row, 1, generator=self.random[index]))
            for index, row in zip(self.rows, chances, strict=True)
        ]

    def _ended(self, row: int) -> StopReason | None:
        written = self.written[row]
        if self.finished is not None and self.finished(written):
            return "stop"
        if len(written) >= self.sampling.max_new_tokens:
            return "length"
        return "context" if len(written) >= self.room[row] else None

    def _drop_ended(self) -> None:
        going_on = [n for n, row in enumerate(self.rows) if row in self.written]
        if len(going_on) < len(self.rows):
            self.rows = [self.rows[n] for n in going_on]
            self.cache.keep(torch.tensor(going_on, dtype=torch.long, device=self.model.device))


def _name(logits: Tensor) -> str:
    return str(logits.dtype).removeprefix("torch.")


def _filtered(logits: Tensor, sampling: Sampling) -> Tensor:
    """(B, vocab) logits with everything outside top-k and top-p at minus infinity."""
    if sampling.top_k is not None and sampling.top_k < logits.shape[-1]:
        least = logits.topk(sampling.top_k).values[:, -1:]
        logits = logits.masked_fill(logits < least, float("-inf"))
    if sampling.top_p < 1:
        ordered, places = logits.sort(descending=True)
        chances = ordered.softmax(-1)
        # A token stays while those before it have less than top-p together, so the first always does.
        drop = chances.cumsum(-1) - chances >= sampling.top_p
        logits = logits.masked_fill(drop.scatter(-1, places, drop), float("-inf"))
    return logits
