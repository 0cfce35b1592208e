"""Entries of different length in one pass without padding: each attends to itself alone, a common beginning once.

All tokens of a pass stand behind each other, so that the linear layers, which take nearly all the time, see
no padding. Only attention works on rows: there the entries are gathered, like lengths together, padded, and
put back. What all entries begin with (the words of the prompt style, a system prompt) is computed once:
without dropout its hidden states are the same in each, and its gradient is the sum over them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from finetune.transformer import causal

LIKE = 0.6  # entries at least this long, as a share of the longest, are padded to the same length


@dataclass(frozen=True)
class Group:
    """Entries padded to one length for attention.

    Attributes:
        spread: Which token stands at each place, (rows, length); any token where there is padding.
        own: The places, in `spread` read row by row, of the entries' own tokens: (n,).
        begin: Where the entries' own tokens begin among all own tokens; they follow each other there.
    """

    spread: Tensor
    own: Tensor
    begin: int


@dataclass(frozen=True)
class Packed:
    """The inputs of one pass.

    Attributes:
        tokens: (N,) ids: the common beginning, then each entry's own tokens, group by group.
        places: (N,) position of each in its entry.
        shared: How many tokens the common beginning has.
        groups: Where the entries are.
    """

    tokens: Tensor
    places: Tensor
    shared: int
    groups: tuple[Group, ...]

    def to(self, device: torch.device) -> "Packed":
        """The same on another device."""
        groups = tuple(replace(g, spread=g.spread.to(device), own=g.own.to(device)) for g in self.groups)
        return replace(self, tokens=self.tokens.to(device), places=self.places.to(device), groups=groups)

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Causal attention inside each entry, of (N, heads, head size) queries."""
        qkv = torch.cat([part.flatten(1) for part in (q, k, v)], dim=1)  # (N, widths of q, k and v)
        sizes = [part.shape[1] * part.shape[2] for part in (q, k, v)]
        mixed = []
        for group in self.groups:
            rows = _spread(qkv, group, self.shared).split(sizes, dim=-1)  # type: ignore[no-untyped-call]  # (rows, length, widths)
            heads = (row.unflatten(-1, (-1, q.shape[2])).transpose(1, 2) for row in rows)
            mixed.append(causal(*heads).transpose(1, 2).flatten(2))  # (rows, length, heads x head size)
        return _collect(self, mixed).view(q.shape)


def _spread(tokens: Tensor, group: Group, shared: int) -> Tensor:
    out: Tensor = _Spread.apply(tokens, group, shared)  # type: ignore[no-untyped-call]
    return out


def _collect(packed: Packed, rows: Sequence[Tensor]) -> Tensor:
    out: Tensor = _Collect.apply(packed, *rows)  # type: ignore[no-untyped-call]
    return out


class _Spread(torch.autograd.Function):
    """(N, width) tokens to the (rows, length, width) of a group; the common beginning stands in every row.

    Written by hand since the way back is known: a gather and a sum, where autograd would add one by one.
    """

    @staticmethod
    def forward(ctx: Any, tokens: Tensor, group: Group, shared: int) -> Tensor:
        ctx.group, ctx.shared, ctx.size = group, shared, tokens.shape[0]
        return tokens[group.spread]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (grad,) = grads
        group, shared = ctx.group, ctx.shared
        out = grad.new_zeros(ctx.size, grad.shape[2])
        out[:shared] = grad[:, :shared].sum(0)
        start = shared + group.begin
        torch.index_select(grad.flatten(0, 1), 0, group.own, out=out[start : start + len(group.own)])
        return out, None, None


class _Collect(torch.autograd.Function):
    """The (rows, length, width) of all groups to (N, width) tokens; the common beginning from the first row."""

    @staticmethod
    def forward(ctx: Any, packed: Packed, *rows: Tensor) -> Tensor:
        ctx.packed, ctx.shapes = packed, [row.shape for row in rows]
        shared = packed.shared
        parts = [rows[0][0, :shared]] if shared else []
        parts += [row.flatten(0, 1)[group.own] for row, group in zip(rows, packed.groups, strict=True)]
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        packed, outs = ctx.packed, []
        for n, (shape, group) in enumerate(zip(ctx.shapes, packed.groups, strict=True)):
            out = grad.new_zeros(shape)
            if n == 0:
                out[0, : packed.shared] = grad[: packed.shared]
            start = packed.shared + group.begin
            out.flatten(0, 1)[group.own] = grad[start : start + len(group.own)]
            outs.append(out)
        return None, *outs


def pack(entries: Sequence[Sequence[int]], *, share: bool = True) -> tuple[Packed, list[np.ndarray]]:
    """Lay out the input tokens of entries for one pass.

    Args:
        entries: Ids of each, none empty.
        share: Compute a common beginning once. Not with dropout, which would then be the same in all entries.

    Returns:
        The layout, and for each entry where its tokens went: (its length,) places among the N tokens.
    """
    arrays = [np.asarray(entry, dtype=np.int64) for entry in entries]
    shared = _common(arrays) if share and len(arrays) > 1 else 0
    order = sorted(range(len(arrays)), key=lambda i: len(arrays[i]), reverse=True)
    where: list[np.ndarray] = [np.empty(0, dtype=np.int64)] * len(arrays)
    at = shared
    for i in order:
        own = len(arrays[i]) - shared
        where[i] = np.concatenate([np.arange(shared), np.arange(at, at + own)])
        at += own
    groups, begin = [], 0
    for members in _alike([where[i] for i in order]):
        groups.append(_group(members, shared, begin))
        begin += len(groups[-1].own)
    tokens = np.concatenate([arrays[order[0]][:shared], *(arrays[i][shared:] for i in order)])
    places = np.concatenate([np.arange(shared), *(np.arange(shared, len(arrays[i])) for i in order)])
    return Packed(torch.from_numpy(tokens), torch.from_numpy(places), shared, tuple(groups)), where


def _common(entries: Sequence[np.ndarray]) -> int:
    """How many first tokens all entries share; one token at least stays each entry's own."""
    shortest = min(map(len, entries)) - 1
    heads = np.stack([entry[:shortest] for entry in entries])  # (entries, shortest)
    differs = (heads != heads[0]).any(axis=0)
    return int(differs.argmax()) if differs.any() else shortest


def _alike(longest_first: Sequence[np.ndarray]) -> list[list[np.ndarray]]:
    """Neighbours of like length together."""
    groups: list[list[np.ndarray]] = []
    for entry in longest_first:
        if not groups or len(entry) < LIKE * len(groups[-1][0]):
            groups.append([])
        groups[-1].append(entry)
    return groups


def _group(members: Sequence[np.ndarray], shared: int, begin: int) -> Group:
    longest = len(members[0])
    spread = np.zeros((len(members), longest), dtype=np.int64)
    own = []
    for row, where in enumerate(members):
        spread[row, : len(where)] = where
        own.append(row * longest + np.arange(shared, len(where)))
    return Group(torch.from_numpy(spread), torch.from_numpy(np.concatenate(own)), begin)
