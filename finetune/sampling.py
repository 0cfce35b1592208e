"""How the next token is chosen from its logits: the likeliest, or by temperature, top-k and top-p."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from finetune.errors import FinetuneError

_COLDEST = 1e-30  # temperatures below are 0 to float32
_BLOCK = 1024  # of the vocabulary
_LARGE = 2**18  # logits from which on the likeliest is looked for in blocks


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


def choose(logits: Tensor, sampling: Sampling, generators: Sequence[torch.Generator]) -> list[int]:
    """A token for each row.

    Args:
        logits: (B, vocab).
        sampling: See `Sampling`.
        generators: One for each row, so that what is drawn for it does not depend on who is beside it; not
            used where the likeliest is taken.

    Raises:
        FinetuneError: If the logits are no numbers.
    """
    best, places = likeliest(logits)
    if best.isnan().any():
        # Such a model answers something, greedily, and it would be scored as if it were its opinion.
        raise FinetuneError(no_numbers(logits.dtype))
    if sampling.temperature == 0:
        return list(places.tolist())
    # The likeliest is at 0, whatever the temperature: the others go as far down as numbers do.
    scaled = (logits - best.unsqueeze(-1)).float().cpu() / max(sampling.temperature, _COLDEST)
    chances = _filtered(scaled, sampling).softmax(-1)
    return [int(torch.multinomial(row, 1, generator=own)) for own, row in zip(generators, chances, strict=True)]


def likeliest(logits: Tensor) -> tuple[Tensor, Tensor]:
    """The largest of (B, vocab) logits and the first place where it is, (B,) each; NaN is larger than any number.

    `logits.max(-1)` gives the same, but takes a CPU several times as long.
    """
    if logits.numel() < _LARGE or logits.device.type != "cpu":
        best, places = logits.max(-1)
        return best, places
    best, block = _block_maxima(logits).max(-1)
    inside = (block[:, None] * _BLOCK + torch.arange(_BLOCK)).clamp_(max=logits.shape[1] - 1)
    place = logits.gather(1, inside).argmax(-1, keepdim=True)
    return best, inside.gather(1, place).squeeze(1)


def _block_maxima(logits: Tensor) -> Tensor:
    """The largest of each block of the vocabulary, (B, blocks)."""
    if logits.stride(-1) != 1:  # they lie transposed, see `finetune.linear`
        return torch.stack([block.amax(-1) for block in torch.split(logits, _BLOCK, -1)], -1)
    whole = logits.shape[1] // _BLOCK * _BLOCK
    maxima = logits[:, :whole].view(len(logits), -1, _BLOCK).amax(-1)
    return torch.cat([maxima, logits[:, whole:].amax(-1, keepdim=True)], 1) if whole < logits.shape[1] else maxima


def no_numbers(dtype: torch.dtype) -> str:
    """What to say of a model whose scores are NaN."""
    return (
        f"the model's scores are no numbers in {str(dtype).removeprefix('torch.')}: its weights are damaged, or too "
        f"large for this dtype; take another checkpoint, or --dtype float32"
    )


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
        drop[:, 0] = False
        logits = logits.masked_fill(drop.scatter(-1, places, drop), float("-inf"))
    return logits
