"""Log-likelihoods of token sequences, in as few forward passes as equal inputs allow."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from finetune.transformer import Transformer

# Rows of logits held at once: 512 of GPT-2's vocabulary are 100 MB.
_HEAD_ROWS = 512


@dataclass(frozen=True)
class Window:
    """What the model reads at once, and which tokens of it are scored.

    Attributes:
        inputs: Token ids as packed 32-bit integers, at most the model's context; see `window`.
        targets: The scored ids; the last is predicted after the last input, the one before after the last
            but one, and so on.
    """

    inputs: bytes
    targets: tuple[int, ...]


@dataclass(frozen=True)
class Score:
    """Sum of the targets' log-probabilities in nats, and whether each was the likeliest token."""

    loglikelihood: float
    greedy: bool


def window(context: Sequence[int], continuation: Sequence[int], context_length: int) -> Window:
    """The window that scores `continuation` after as much of `context` as fits.

    The last token is only predicted, so context and continuation may be one longer together than the
    model's context; beyond that the front is dropped (as lm-eval's `hf` model does).

    Args:
        context: At least one id.
        continuation: One to `context_length` ids.
        context_length: Positions of the model.
    """
    assert context
    assert 0 < len(continuation) <= context_length
    kept = [*context, *continuation][-(context_length + 1) : -1]
    return Window(np.asarray(kept, dtype=np.int32).tobytes(), tuple(continuation))


def score_windows(
    model: Transformer, windows: Sequence[Window], *, token_budget: int
) -> Iterator[list[tuple[int, Score]]]:
    """Score every window, the longest first; yields (index of the window, score) batch by batch.

    Windows with equal inputs share a forward pass: one-token continuations of one context always do.

    Args:
        model: In eval mode.
        windows: What to score.
        token_budget: Tokens in one forward pass, padding included; a longer window goes alone.
    """
    sharing: dict[bytes, list[int]] = defaultdict(list)
    for index, each in enumerate(windows):
        sharing[each.inputs].append(index)
    for batch in _batches(sorted(sharing, key=len, reverse=True), token_budget):
        owners = [[(index, windows[index].targets) for index in sharing[inputs]] for inputs in batch]
        yield _score_batch(model, batch, owners)


def _batches(longest_first: list[bytes], token_budget: int) -> Iterator[list[bytes]]:
    start = 0
    while start < len(longest_first):
        size = max(1, token_budget // (len(longest_first[start]) // 4))
        yield longest_first[start : start + size]
        start += size


@torch.inference_mode()
def _score_batch(
    model: Transformer, batch: list[bytes], owners: list[list[tuple[int, tuple[int, ...]]]]
) -> list[tuple[int, Score]]:
    """Score the windows (index, targets) that read each of the batch's inputs."""
    ids = [np.frombuffer(inputs, dtype=np.int32) for inputs in batch]
    tokens = np.zeros((len(ids), len(ids[0])), dtype=np.int64)  # (B, T), padded on the right: causal, so unseen
    # Of the positions that are read, all rows' behind each other:
    rows: list[int] = []
    places: list[int] = []
    starts: list[int] = []
    for row, (own, sharers) in enumerate(zip(ids, owners, strict=True)):
        tokens[row, : len(own)] = own
        reach = max(len(targets) for _, targets in sharers)
        rows += [row] * reach
        places += range(len(own) - reach, len(own))
        starts += [len(rows) - len(targets) for _, targets in sharers]
    hidden = model.hidden(torch.from_numpy(tokens).to(model.device))[rows, places]  # (N, width)
    flat = [(index, targets) for sharers in owners for index, targets in sharers]
    at = [start + n for start, (_, targets) in zip(starts, flat, strict=True) for n in range(len(targets))]
    wanted = [target for _, targets in flat for target in targets]
    chances, hits = _log_probabilities(model, hidden, torch.tensor(at), torch.tensor(wanted))
    sizes = [len(targets) for _, targets in flat]
    return [
        (index, Score(float(chance.sum()), bool(hit.all())))
        for (index, _), chance, hit in zip(flat, torch.split(chances, sizes), torch.split(hits, sizes), strict=True)
    ]


def _log_probabilities(model: Transformer, hidden: Tensor, at: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probability (M,) of token `wanted[m]` at position `hidden[at[m]]`, and whether it is the likeliest."""
    chances = torch.empty(len(at), dtype=torch.float64)
    hits = torch.empty(len(at), dtype=torch.bool)
    for start in range(0, len(hidden), _HEAD_ROWS):
        logits = model.head(hidden[start : start + _HEAD_ROWS]).float()  # (rows, vocab)
        here = (at >= start) & (at < start + _HEAD_ROWS)
        rows, tokens = (at[here] - start).to(logits.device), wanted[here].to(logits.device)
        chances[here] = (logits[rows, tokens] - logits.logsumexp(-1)[rows]).cpu().double()
        hits[here] = (logits.argmax(-1)[rows] == tokens).cpu()
    return chances, hits
