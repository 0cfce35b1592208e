"""A tokenizer as llama.cpp keeps it: a byte-level BPE with the name of its split pattern, or SentencePiece's BPE."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from finetune.errors import FinetuneError
from finetune.tokenizer import Tokenizer
from finetune.vocabulary.byte_bpe import merges_of

if TYPE_CHECKING:
    from gguf import GGUFWriter, TokenType

# llama.cpp holds the split patterns it knows in its source and calls them by these names.
_LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_PATTERNS = {
    _LLAMA3: "llama-bpe",
    _LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}"): "qwen2",
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+": "gpt-2",
    r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+": "gpt-2",
}
_WHOLE_WORDS = "llama-bpe"  # where llama.cpp takes a word that is a token as it is, whatever the merges say

_BYTES = frozenset(f"<0x{byte:02X}>" for byte in range(256))
_SPACE = "▁"  # SentencePiece's


def add_tokenizer(writer: "GGUFWriter", tokenizer: Tokenizer, vocab_size: int, ends: Sequence[int]) -> list[str]:
    """Write the vocabulary and what stands beside it.

    Args:
        writer: Of the file.
        tokenizer: What to write.
        vocab_size: Rows of the model's embedding; those without a token get a name of their own.
        ends: Ids that end an answer, the end of text first.

    Returns:
        Where llama.cpp will give other ids, a sentence each.

    Raises:
        FinetuneError: If llama.cpp would give other ids for ordinary text.
    """
    spec = tokenizer.spec()
    model = spec["model"]
    if model.get("type", "BPE") != "BPE":
        raise _unknown(tokenizer, f"a model of type {model.get('type')}")
    for setting in ("continuing_subword_prefix", "end_of_word_suffix"):
        if model.get(setting):
            raise _unknown(tokenizer, f"the setting {setting}")
    notes = (_add_sentencepiece if model.get("byte_fallback") else _add_byte_level)(writer, tokenizer, vocab_size)
    _add_ids(writer, tokenizer, ends)
    return notes + _added_notes(spec)


def _unknown(tokenizer: Tokenizer, found: str) -> FinetuneError:
    return FinetuneError(
        f"tokenizer {tokenizer.name}: GGUF wants one that llama.cpp has too (byte-level BPE with the split pattern of "
        f"GPT-2, Llama 3, Qwen or SmolLM, or a Llama 2 SentencePiece BPE), found {found}; export --to hf"
    )


def _add_byte_level(writer: "GGUFWriter", tokenizer: Tokenizer, vocab_size: int) -> list[str]:
    spec = tokenizer.spec()
    pre = _pre(tokenizer, spec.get("pre_tokenizer"))
    _check_whole_words(tokenizer, pre)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    _add_tokens(writer, tokenizer, vocab_size, _byte_level_kinds(tokenizer))
    writer.add_token_merges([" ".join(pair) for pair in merges_of(spec["model"])])
    form = spec.get("normalizer")
    if not form or form.get("normalizers") == []:
        return []
    if form.get("type") != "NFC":
        raise _unknown(tokenizer, f"the normalizer {form.get('type')}")
    return ["llama.cpp does not bring text to the Unicode form NFC first: accents written apart get other ids there"]


def _pre(tokenizer: Tokenizer, pre: Mapping[str, Any] | None) -> str:
    """llama.cpp's name for the way a pre-tokenizer cuts words."""
    steps = (pre or {}).get("pretokenizers") or [pre or {}]
    found = None
    if not any(step.get("add_prefix_space") for step in steps):
        match steps:
            case [{"type": "ByteLevel", "use_regex": True}]:
                found = "gpt-2"
            case [{"type": "Digits", "individual_digits": True}, {"type": "ByteLevel", "use_regex": True}]:
                found = "smollm"
            case [{"type": "Split", "pattern": {"Regex": pattern}} as step, {"type": "ByteLevel", "use_regex": False}]:
                # These patterns cover every text, so keeping the matches and keeping what is between are one.
                if (step["behavior"], step["invert"]) in (("Isolated", False), ("Removed", True)):
                    found = _PATTERNS.get(pattern)
    if found is None:
        raise _unknown(tokenizer, f"the split {json.dumps(pre)[:120]}")
    return found


def _check_whole_words(tokenizer: Tokenizer, pre: str) -> None:
    """Whether llama.cpp takes whole words where, and only where, the tokenizer does; or there is no difference."""
    model = tokenizer.spec()["model"]
    wanted = bool(model.get("ignore_merges"))
    if wanted and pre != _WHOLE_WORDS:
        made = {"".join(pair) for pair in merges_of(model)} | set(tokenizer.special_tokens)
        unmade = next((token for token in model["vocab"] if len(token) > 1 and token not in made), None)
        if unmade is not None:
            raise _unknown(tokenizer, f"the token {unmade!r} that no merges lead to, beside a {pre} split")
    # One that tiktoken reproduces has no word whose merges lead to anything but itself.
    if not wanted and pre == _WHOLE_WORDS and not tokenizer.is_byte_level:
        raise _unknown(tokenizer, "merges that are not in the order of their ids")


def _byte_level_kinds(tokenizer: Tokenizer) -> dict[str, "TokenType"]:
    from gguf import TokenType

    kinds = dict.fromkeys(tokenizer.spec()["model"]["vocab"], TokenType.NORMAL)
    return kinds | _added_kinds(tokenizer)


def _added_kinds(tokenizer: Tokenizer) -> dict[str, "TokenType"]:
    from gguf import TokenType

    plain = dict.fromkeys(tokenizer.plain_tokens, TokenType.USER_DEFINED)
    return plain | dict.fromkeys(tokenizer.special_tokens, TokenType.CONTROL)


def _add_tokens(
    writer: "GGUFWriter", tokenizer: Tokenizer, vocab_size: int, kinds: Mapping[str, "TokenType"]
) -> list[str]:
    """Texts and kinds of all ids; the texts."""
    from gguf import TokenType

    ids = tokenizer.spec()["model"]["vocab"] | tokenizer.plain_tokens | tokenizer.special_tokens
    texts = {i: text for text, i in ids.items()}
    listed = [texts.get(i, f"[unused {i}]") for i in range(vocab_size)]
    writer.add_token_list(listed)
    writer.add_token_types([kinds.get(text, TokenType.UNUSED) for text in listed])
    return listed


def _add_sentencepiece(writer: "GGUFWriter", tokenizer: Tokenizer, vocab_size: int) -> list[str]:
    """llama.cpp joins the neighbours whose joined text has the highest score, which is here its place in the merges."""
    from gguf import TokenType

    model = tokenizer.spec()["model"]
    prefix, notes = _prefix(tokenizer)
    missing = len(_BYTES - set(model["vocab"]))
    if missing:
        raise _unknown(tokenizer, f"{missing} of the 256 bytes without a token")
    ranks = _merge_ranks(tokenizer)
    kinds = dict.fromkeys(model["vocab"], TokenType.NORMAL) | dict.fromkeys(_BYTES, TokenType.BYTE)
    kinds |= _added_kinds(tokenizer)
    if model.get("unk_token") in kinds:
        kinds[model["unk_token"]] = TokenType.UNKNOWN
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    listed = _add_tokens(writer, tokenizer, vocab_size, kinds)
    last = -float(len(ranks))  # single characters are never joined from anything
    writer.add_token_scores([-float(ranks[text]) if text in ranks else last for text in listed])
    writer.add_add_space_prefix(prefix)
    if model.get("unk_token") in model["vocab"]:
        writer.add_unk_token_id(model["vocab"][model["unk_token"]])
    return notes


def _prefix(tokenizer: Tokenizer) -> tuple[bool, list[str]]:
    """Whether a space is put before a text, and what is to be said of it."""
    spec = tokenizer.spec()
    normalizer, pre = spec.get("normalizer") or {}, spec.get("pre_tokenizer") or {}
    steps = normalizer.get("normalizers") or [normalizer]
    replaces = {"type": "Replace", "pattern": {"String": " "}, "content": _SPACE}
    if not pre and steps == [{"type": "Prepend", "prepend": _SPACE}, replaces]:
        return True, []
    if not pre and steps == [replaces]:
        return False, []
    scheme = pre.get("prepend_scheme")
    if not normalizer and pre.get("type") == "Metaspace" and pre.get("split") is False and scheme:
        if scheme == "never":
            return False, []
        note = "llama.cpp puts a space before a text that begins with one too"
        if scheme == "first":
            note += ", and before a text behind a control token"
        return True, [f"{note}; this tokenizer does not"]
    raise _unknown(tokenizer, f"the normalizer and split {json.dumps([normalizer, pre])[:120]}")


def _merge_ranks(tokenizer: Tokenizer) -> dict[str, int]:
    """The place of each token among the merges, if joining any neighbours that make a token is what they say.

    Raises:
        FinetuneError: If there are neighbours that make a token and are not to be joined, or not in this order.
    """
    model = tokenizer.spec()["model"]
    vocab = model["vocab"].keys()
    pairs = {tuple(pair) for pair in merges_of(model)}
    ranks: dict[str, int] = {}
    before = None
    for left, right in merges_of(model):
        token = left + right
        if token != before and token in ranks:
            raise _unknown(tokenizer, f"merges of {token!r} in more than one place")
        ranks.setdefault(token, len(ranks))
        before = token
    for token in vocab - set(tokenizer.special_tokens) - _BYTES:
        for at in range(1, len(token)):
            pair = (token[:at], token[at:])
            if pair[0] in vocab and pair[1] in vocab and pair not in pairs:
                raise _unknown(tokenizer, f"tokens {pair[0]!r} and {pair[1]!r} that are not merged to {token!r}")
    return ranks


def _add_ids(writer: "GGUFWriter", tokenizer: Tokenizer, ends: Sequence[int]) -> None:
    names = {name: tokenizer.control(text) for name, text in tokenizer.special_names.items()}
    start = tokenizer.start_of_text if tokenizer.start_of_text is not None else names.get("bos_token")
    writer.add_bos_token_id(tokenizer.end_of_text if start is None else start)
    writer.add_eos_token_id(tokenizer.end_of_text)
    if len(ends) > 1:
        writer.add_eot_token_id(ends[1])
    if (pad := names.get("pad_token")) is not None:
        writer.add_pad_token_id(pad)
    writer.add_add_bos_token(tokenizer.start_of_text is not None)
    writer.add_add_eos_token(False)


def _added_notes(spec: Mapping[str, Any]) -> list[str]:
    flags = ("lstrip", "rstrip", "single_word")
    found = [token["content"] for token in spec.get("added_tokens") or [] if any(token.get(flag) for flag in flags)]
    if not found:
        return []
    shown = ", ".join(found[:3]) + (f" and {len(found) - 3} more" if len(found) > 3 else "")
    return [f"llama.cpp leaves the white space beside these tokens in the text, this tokenizer takes it away: {shown}"]
