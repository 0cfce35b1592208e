"""What a tokenizer asks of the library that turns text into ids; and tiktoken, which does so for byte-level BPEs."""

from collections.abc import Sequence
from typing import Literal, Protocol

import tiktoken

from finetune.vocabulary.added_tokens import AddedToken, PlainTokens
from finetune.vocabulary.byte_bpe import ByteBpe, NotExactError

Place = Literal["start", "control", "text"]
"""What stands before a text: nothing, a control token, or other text. SentencePiece puts a space before
a text's first word, so to it the three are different; byte-level BPEs see no difference."""


class Backend(Protocol):
    """Text to ids and back. Texts are valid Unicode; control tokens written in them stay text."""

    vocab_size: int

    def encode_batch(self, texts: Sequence[str], place: Place) -> list[list[int]]:
        """Ids of each text."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ids below `vocab_size`; bytes that are no UTF-8 become U+FFFD, ids without a token nothing."""
        ...


class TiktokenBackend:
    """A `tiktoken.Encoding`, the normalizer before it, and the added tokens that ordinary text may hold."""

    def __init__(self, encoding: tiktoken.Encoding, plain: PlainTokens):
        """Wrap an encoding whose special tokens are the added ones, those in `plain` among them."""
        self.encoding = encoding
        self.vocab_size = encoding.n_vocab
        self._plain = plain
        self._known: frozenset[int] | None = None

    @classmethod
    def build(cls, name: str, bpe: ByteBpe, added: Sequence[AddedToken]) -> "TiktokenBackend":
        """Build the encoding, which takes most of the time that loading a tokenizer takes.

        Raises:
            NotExactError: If tiktoken cannot compile the pattern.
        """
        special = {token.text: token.id for token in added}
        try:
            encoding = tiktoken.Encoding(name, pat_str=bpe.pattern, mergeable_ranks=bpe.ranks, special_tokens=special)
        except ValueError:
            raise NotExactError("a split pattern that tiktoken cannot compile") from None
        return cls(encoding, PlainTokens(added, form=bpe.form))

    def encode_batch(self, texts: Sequence[str], place: Place) -> list[list[int]]:
        """Ids of each text; several texts are encoded on several threads."""
        if self._plain.any:
            return self._encode_around(texts)
        return self._encode_words([self._plain.normalize(text) for text in texts])

    def decode(self, ids: Sequence[int]) -> str:
        """Text of the ids."""
        try:
            return self.encoding.decode(list(ids), errors="replace")
        except KeyError:  # a vocabulary may have holes, where a model's embedding has rows all the same
            if self._known is None:
                core = self.encoding
                self._known = frozenset(core._mergeable_ranks.values()) | frozenset(core._special_tokens.values())
            return self.encoding.decode([i for i in ids if i in self._known], errors="replace")

    def _encode_words(self, texts: list[str]) -> list[list[int]]:
        if len(texts) == 1:  # not worth a thread
            return [self.encoding.encode_ordinary(texts[0])]
        return self.encoding.encode_ordinary_batch(texts)

    def _encode_around(self, texts: Sequence[str]) -> list[list[int]]:
        parts = [self._plain.split(text) for text in texts]
        words = [part for text in parts for part in text if isinstance(part, str)]
        encoded = iter(self._encode_words(words))
        return [[i for part in text for i in ([part] if isinstance(part, int) else next(encoded))] for text in parts]
