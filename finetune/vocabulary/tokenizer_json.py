"""A `tokenizer.json` for one of tiktoken's own encodings, so that every other tool reads it."""

from collections.abc import Mapping
from typing import Any

import tiktoken

from finetune.vocabulary.byte_bpe import last_merge, to_letters

# tiktoken's patterns in the signs that both regular expression engines read in one way: to `tokenizers` a
# possessive {1,3}+ is a repetition without end, and $ the end of every line.
_SAME_MEANING = ((r"\p{N}{1,3}+", r"\p{N}{1,3}"), (r"\s++$", r"\s+\z"))


def json_of(encoding: tiktoken.Encoding) -> dict[str, Any]:
    """What `tokenizer.json` holds of an encoding; the merges are read back from the ranks."""
    gpt2 = encoding.name == "gpt2"
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": i, "content": text, "single_word": False, "lstrip": False, "rstrip": False}
            | {"normalized": False, "special": True}
            for text, i in sorted(encoding._special_tokens.items(), key=lambda pair: pair[1])
        ],
        "normalizer": None,
        "pre_tokenizer": byte_level | {"use_regex": True} if gpt2 else _split(encoding._pat_str, byte_level),
        "post_processor": None,
        "decoder": byte_level | {"use_regex": True},
        "model": _model(encoding._mergeable_ranks, ignore_merges=not gpt2),
    }


def _split(pattern: str, byte_level: Mapping[str, Any]) -> dict[str, Any]:
    for ours, theirs in _SAME_MEANING:
        pattern = pattern.replace(ours, theirs)
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    return {"type": "Sequence", "pretokenizers": [split, {**byte_level, "use_regex": False}]}


def _model(ranks: Mapping[bytes, int], *, ignore_merges: bool) -> dict[str, Any]:
    ordered = sorted(ranks, key=ranks.__getitem__)
    made = (last_merge(token, ranks) for token in ordered if len(token) > 1)
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": None,
        "continuing_subword_prefix": "",
        "end_of_word_suffix": "",
        "fuse_unk": False,
        "byte_fallback": False,
        "ignore_merges": ignore_merges,
        "vocab": {to_letters(token): ranks[token] for token in ordered},
        "merges": [[to_letters(part) for part in pair] for pair in made if pair is not None],
    }
