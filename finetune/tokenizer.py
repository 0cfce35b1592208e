"""Text to token ids and back: tiktoken encodings by name, from a `tokenizer.json`, or trained here.

Whatever the source, a checkpoint keeps its tokenizer as a Hugging Face `tokenizer.json`, so that every
other tool reads it and this project has one format to load.
"""

import itertools
import json
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import tiktoken

from finetune.errors import FinetuneError, unknown_name

END_OF_TEXT = "<|endoftext|>"

# How GPT-2 cuts text into words before merging bytes. `tokenizers` has the same pattern inside its
# ByteLevel pre-tokenizer, so a file that says `use_regex` means this one.
GPT2_PATTERN = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"

_USUAL_ENDS = (END_OF_TEXT, "<|end_of_text|>", "<|im_end|>", "<|eot_id|>", "<|end|>")


class Tokenizer:
    """A byte-level BPE: a `tiktoken.Encoding`, the normalizer before it, and the `tokenizer.json` it is kept as.

    Attributes:
        name: What it is called in messages.
        end_of_text: The id that ends an answer.
    """

    def __init__(self, encoding: tiktoken.Encoding, *, normalizer: str | None = None, end: str | None = None):
        """Wrap an encoding; `end` names the token that ends a text when it is not one of the usual ones."""
        self._encoding = encoding
        self._normalizer = normalizer
        self._special: dict[str, int] = dict(encoding._special_tokens)
        self._spec: dict[str, Any] | None = None
        self.name = encoding.name
        self.end_token = end or next((e for e in _USUAL_ENDS if e in self._special), "")
        if self.end_token not in self._special:
            raise FinetuneError(
                f"tokenizer {self.name}: wanted a token that ends a text ({', '.join(_USUAL_ENDS)}), "
                f""
                f"found {sorted(self._special) or 'no control tokens'}; name one as eos_token in tokenizer_config.json"
            )
        self.end_of_text = self._special[self.end_token]

    @classmethod
    def by_name(cls, name: str = "gpt2") -> "Tokenizer":
        """One of tiktoken's own encodings, downloaded once into tiktoken's cache.

        Raises:
            FinetuneError: If there is no such encoding, or it is not in the cache and cannot be downloaded.
        """
        if name not in tiktoken.list_encoding_names():
            raise unknown_name("tiktoken encoding", name, tiktoken.list_encoding_names())
        try:
            return cls(tiktoken.get_encoding(name))
        except (OSError, ValueError) as error:
            raise FinetuneError(
                f"tiktoken's {name!r} is not on this machine and could not be downloaded ({type(error).__name__}); "
                f"set TIKTOKEN_CACHE_DIR to a folder that holds it, or put a tokenizer.json beside the model"
            ) from error

    @classmethod
    def from_file(cls, path: str | Path) -> "Tokenizer":
        """The encoding of a Hugging Face `tokenizer.json`, if it is one that tiktoken can reproduce exactly.

        Raises:
            FinetuneError: If the file is missing, no JSON, or not a byte-level BPE with ids in merge order.
        """
        path = Path(path)
        try:
            spec = json.loads(path.read_text("utf-8"))
        except FileNotFoundError:
            raise FinetuneError(f"wanted a tokenizer at {path}, found none") from None
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise FinetuneError(f"{path} is not JSON: {error}") from None
        try:
            return cls.from_spec(spec, name=str(path), end=_eos_token(path.with_name("tokenizer_config.json")))
        except (AttributeError, KeyError, TypeError) as error:
            raise _refuse(str(path), f"another layout ({error})") from None

    @classmethod
    def from_spec(cls, spec: dict[str, Any], *, name: str, end: str | None = None) -> "Tokenizer":
        """The encoding that the parsed contents of a `tokenizer.json` describe; see `from_file`."""
        ranks = _ranks(spec, name)
        special = {token["content"]: token["id"] for token in spec.get("added_tokens") or []}
        for content in special:
            # GPT-2's own file lists <|endoftext|> among the ordinary tokens too.
            ranks.pop(content.encode(), None)
        pattern = _pattern(spec.get("pre_tokenizer"), name)
        encoding = tiktoken.Encoding(name, pat_str=pattern, mergeable_ranks=ranks, special_tokens=special)
        made = cls(encoding, normalizer=_normalizer(spec.get("normalizer"), name), end=end)
        made._spec = spec
        return made

    @property
    def vocab_size(self) -> int:
        """One more than the largest id: what a model's embedding must at least hold."""
        return self._encoding.n_vocab

    def encode(self, text: str) -> list[int]:
        """Ids of ordinary text. Control tokens written in it stay text: nobody can type an end of text."""
        return self._encoding.encode_ordinary(self._normalize(text))

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """`encode` for many texts, on several threads."""
        return self._encoding.encode_ordinary_batch([self._normalize(text) for text in texts])

    def encode_template(self, pieces: Iterable[tuple[str, bool]]) -> list[int]:
        """Ids of (text, is a control token) pieces; a control token this vocabulary lacks is plain text.

        Neighbouring plain pieces are encoded as one text, as they would be if a person had written them.
        """
        ids: list[int] = []
        plain = ""
        for text, is_control in pieces:
            control = self.control(text) if is_control else None
            if control is None:
                plain += text
            else:
                ids += [*self.encode(plain), control]
                plain = ""
        return ids + self.encode(plain)

    def control(self, token: str) -> int | None:
        """The id of a control token, or None when this vocabulary has no such token."""
        return self._special.get(token)

    def decode(self, ids: Sequence[int]) -> str:
        """Text of the ids; bytes that are no UTF-8, and ids beyond the vocabulary, become U+FFFD or nothing."""
        return self._encoding.decode([i for i in ids if i < self.vocab_size], errors="replace")

    def save(self, folder: str | Path, *, chat_template: str | None = None) -> None:
        """Write `tokenizer.json` and a `tokenizer_config.json` that transformers reads."""
        folder = Path(folder)
        (folder / "tokenizer.json").write_text(json.dumps(self.spec(), ensure_ascii=False), "utf-8")
        config = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": self.end_token,
            "eos_token": self.end_token,
            "unk_token": self.end_token,
        }
        if chat_template:
            config["chat_template"] = chat_template
        (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=1), "utf-8")

    @property
    def pattern(self) -> str:
        """The regular expression that cuts text into words before bytes are merged."""
        return GPT2_PATTERN if self.name == "gpt2" else self._encoding._pat_str

    @property
    def special_tokens(self) -> dict[str, int]:
        """Control tokens and their ids."""
        return dict(self._special)

    def spec(self) -> dict[str, Any]:
        """What `tokenizer.json` holds."""
        if self._spec is None:
            self._spec = _spec_of(self._encoding, self._special)
        return self._spec

    def _normalize(self, text: str) -> str:
        return unicodedata.normalize("NFC", text) if self._normalizer else text


def train_tokenizer(texts: Iterable[str], vocab_size: int, *, name: str = "trained") -> Tokenizer:
    """A byte-level BPE learnt from `texts`, in GPT-2's way of cutting words, with the end of text as last id.

    Args:
        texts: What to learn the merges from.
        vocab_size: Ids in all, at least 257: the bytes, the merges and the end of text.
        name: What the tokenizer is called in messages.
    """
    try:
        from tokenizers import AddedToken, decoders, models, pre_tokenizers, trainers
        from tokenizers import Tokenizer as Trained
    except ImportError:
        raise FinetuneError("training a tokenizer wants the package tokenizers: pip install 'ift-eval[hf]'") from None
    trained = Trained(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trained.decoder = decoders.ByteLevel()
    # Without the full alphabet a byte never seen in training has no id, and encoding it fails.
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=vocab_size - 1, initial_alphabet=alphabet, show_progress=False)
    trained.train_from_iterator(texts, trainer)
    trained.add_special_tokens([AddedToken(END_OF_TEXT, special=True)])
    return Tokenizer.from_spec(json.loads(trained.to_str()), name=name)


def _eos_token(config: Path) -> str | None:
    """The end-of-text token that a `tokenizer_config.json` names, if it is there."""
    try:
        token = json.loads(config.read_text("utf-8")).get("eos_token")
    except (OSError, ValueError, AttributeError):
        return None
    return token.get("content") if isinstance(token, Mapping) else token


def _refuse(name: str, found: str) -> FinetuneError:
    return FinetuneError(
        f"tokenizer {name}: wanted a byte-level BPE that tiktoken reproduces exactly, found {found}; "
        f"serve the model behind an endpoint and name it as openai:MODEL@URL"
    )


def _byte_letters() -> dict[int, str]:
    """The printable character that stands for each byte in the tokens of a byte-level BPE (GPT-2's table)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = (b for b in range(256) if b not in printable)
    return {b: chr(b) for b in printable} | {b: chr(256 + n) for n, b in enumerate(others)}


BYTE_LETTERS = _byte_letters()
_LETTER_BYTES = {letter: byte for byte, letter in BYTE_LETTERS.items()}


def _to_bytes(token: str) -> bytes | None:
    """The bytes a token stands for, or None when it holds a character that stands for no byte."""
    values = [_LETTER_BYTES.get(letter) for letter in token]
    return None if None in values else bytes(v for v in values if v is not None)


def to_letters(token: bytes) -> str:
    """The token as `tokenizer.json` and GGUF write it, a printable character for each byte."""
    return "".join(BYTE_LETTERS[b] for b in token)


def _ranks(spec: dict[str, Any], name: str) -> dict[bytes, int]:
    """Bytes to ids of the ordinary tokens, after checking that ids order the merges as tiktoken assumes."""
    model = spec.get("model") or {}
    if model.get("type", "BPE") != "BPE" or "vocab" not in model:
        raise _refuse(name, f"a model of type {model.get('type')!r}")
    if model.get("byte_fallback"):
        raise _refuse(name, "byte fallback (a SentencePiece vocabulary)")
    vocab: dict[str, int] = model["vocab"]
    added = {token["content"] for token in spec.get("added_tokens") or []}
    ranks: dict[bytes, int] = {}
    for token, rank in vocab.items():
        raw = _to_bytes(token)
        if raw is not None:
            ranks[raw] = rank
        elif token not in added:
            raise _refuse(name, f"the token {token!r}, which is not made of bytes")
    missing = 256 - sum(bytes([b]) in ranks for b in range(256))
    if missing:
        raise _refuse(name, f"{missing} of the 256 bytes without a token")
    made = [vocab.get("".join(pair), -1) for pair in _merges(model)]
    if any(later <= earlier for earlier, later in itertools.pairwise(made)):
        raise _refuse(name, "token ids that do not rise in merge order")
    return ranks


def _merges(model: Mapping[str, Any]) -> Iterator[Sequence[str]]:
    """Pairs to merge; older files write "a b", newer ones ["a", "b"]."""
    for pair in model.get("merges") or []:
        yield pair.split(" ", 1) if isinstance(pair, str) else pair


def _pattern(pre: dict[str, Any] | None, name: str) -> str:
    """The one split pattern of a pre-tokenizer."""
    steps = (pre or {}).get("pretokenizers") or [pre or {}]
    if any(step.get("add_prefix_space") for step in steps):
        raise _refuse(name, "an added prefix space")
    match steps:
        case [{"type": "ByteLevel"}] if steps[0].get("use_regex", True):
            return GPT2_PATTERN
        case [{"type": "Split", "pattern": {"Regex": pattern}}, {"type": "ByteLevel", "use_regex": False}]:
            # Either way of saying "the matches are the words".
            if (steps[0].get("behavior"), bool(steps[0].get("invert"))) in (
                ("Isolated", False),
                ("Removed", True),
            ):
                return str(pattern)
    raise _refuse(name, f"the pre-tokenizer {json.dumps(pre)[:80]}")


def _normalizer(spec: dict[str, Any] | None, name: str) -> str | None:
    if spec is None:
        return None
    if spec.get("type") == "NFC":
        return "NFC"
    raise _refuse(name, f"the normalizer {spec.get('type')!r}")


def _spec_of(encoding: tiktoken.Encoding, special: Mapping[str, int]) -> dict[str, Any]:
    """A `tokenizer.json` for one of tiktoken's encodings; the merges are read back from the ranks."""
    ranks = encoding._mergeable_ranks
    ordered = sorted(ranks, key=ranks.__getitem__)
    merges = [[to_letters(part) for part in _last_merge(t, ranks)] for t in ordered if len(t) > 1]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    split = {
        "type": "Split",
        "pattern": {"Regex": encoding._pat_str},
        "behavior": "Isolated",
        "invert": False,
    }
    pre: dict[str, Any] = {"type": "Sequence", "pretokenizers": [split, byte_level | {"use_regex": False}]}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": i, "content": text, "single_word": False, "lstrip": False, "rstrip": False}
            | {"normalized": False, "special": True}
            for text, i in sorted(special.items(), key=lambda pair: pair[1])
        ],
        "normalizer": None,
        "pre_tokenizer": byte_level | {"use_regex": True} if encoding.name == "gpt2" else pre,
        "post_processor": None,
        "decoder": byte_level | {"use_regex": True},
        "model": {"type": "BPE", "vocab": {to_letters(t): ranks[t] for t in ordered}, "merges": merges}
        | {"dropout": None, "unk_token": None, "continuing_subword_prefix": "", "end_of_word_suffix": ""}
        | {"fuse_unk": False, "byte_fallback": False, "ignore_merges": encoding.name != "gpt2"},
    }


def _last_merge(token: bytes, ranks: Mapping[bytes, int]) -> list[bytes]:
    """The two parts whose merge makes `token`: BPE on its bytes with only the merges that came before it."""
    parts = [token[i : i + 1] for i in range(len(token))]
    own = ranks[token]
    while len(parts) > 2:
        options = [(ranks.get(a + b, own), i) for i, (a, b) in enumerate(itertools.pairwise(parts))]
        rank, at = min(options)
        assert rank < own, f"no merges lead to {token!r}"
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return parts
