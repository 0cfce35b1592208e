"""Examples to the passes of a training: packed or padded inputs, and which token each trained one follows."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from finetune.examples import Example
from finetune.loss import head_loss
from finetune.packing import Packed, pack
from finetune.transformer import Transformer


@dataclass(frozen=True)
class Batch:
    """The inputs of one pass, and what is learnt from them.

    Attributes:
        tokens: (N,) ids that are packed, or (B, T) that are padded on the right.
        layout: Where packed tokens belong; None for padded ones.
        wanted: Indices into `tokens` of those that something trained follows, (U,) each.
        at: For each target, which of the wanted it follows: (M,).
        targets: (M,) ids.
        counts: How often each target counts, (M,): what entries share is computed once and counts for each.
        real: Input tokens of the entries, without padding.
    """

    tokens: Tensor
    layout: Packed | None
    wanted: tuple[Tensor, ...]
    at: Tensor
    targets: Tensor
    counts: Tensor
    real: int

    @property
    def trained(self) -> int:
        """How many tokens are learnt."""
        return int(self.counts.sum())

    def to(self, device: torch.device) -> "Batch":
        """The same on another device."""
        return replace(
            self,
            tokens=self.tokens.to(device),
            layout=self.layout and self.layout.to(device),
            wanted=tuple(index.to(device) for index in self.wanted),
            at=self.at.to(device),
            targets=self.targets.to(device),
            counts=self.counts.to(device),
        )


def make_batch(examples: Sequence[Example], *, packing: bool = True, share: bool = True) -> Batch:
    """Lay out examples for one pass; the last token of each is only ever a target.

    Args:
        examples: Each with two tokens at least.
        packing: Without padding, attention confined to each example; else rows padded to the longest.
        share: Compute what all of them begin with once; see `pack`.
    """
    inputs = [example.tokens[:-1] for example in examples]
    layout = None
    if packing:
        layout, where = pack(inputs, share=share)
        tokens = layout.tokens
    else:
        longest = max(map(len, inputs))
        tokens = torch.zeros(len(inputs), longest, dtype=torch.long)
        for row, ids in enumerate(inputs):
            tokens[row, : len(ids)] = torch.tensor(ids)
        where = [row * longest + np.arange(len(ids)) for row, ids in enumerate(inputs)]
    flags = [np.asarray(example.trained[1:], dtype=bool) for example in examples]
    at = np.concatenate([place[flag] for place, flag in zip(where, flags, strict=True)])
    learnt = np.concatenate([np.asarray(e.tokens[1:])[flag] for e, flag in zip(examples, flags, strict=True)])
    pairs, counts = np.unique(np.stack([at, learnt]), axis=1, return_counts=True)
    places, inverse = np.unique(pairs[0], return_inverse=True)
    wanted = (places,) if packing else np.unravel_index(places, tuple(tokens.shape))
    return Batch(
        tokens=tokens,
        layout=layout,
        wanted=tuple(torch.from_numpy(np.ascontiguousarray(index)) for index in wanted),
        at=torch.from_numpy(inverse),
        targets=torch.from_numpy(pairs[1].astype(np.int64)),
        counts=torch.from_numpy(counts.astype(np.float32)),
        real=sum(map(len, inputs)),
    )


def batch_loss(model: Transformer, batch: Batch, scale: float = 1.0) -> Tensor:
    """Cross entropy in nats, summed over all that is learnt from the batch, times `scale`."""
    batch = batch.to(model.device)
    hidden = model.hidden(batch.tokens, layout=batch.layout, wanted=batch.wanted)  # (U, width)
    return head_loss(hidden[batch.at], model.head_weight, batch.targets, batch.counts * scale)
