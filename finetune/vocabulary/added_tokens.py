"""Tokens beside the merges: control tokens, and those that ordinary text may hold (`special: false`, as `<think>`)."""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

# Unicode's White_Space, which tokenizers strips. Python's own strip() takes four separators more.
SPACES = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))


@dataclass(frozen=True)
class AddedToken:
    """One entry of `added_tokens` in a `tokenizer.json`.

    Attributes:
        text: What it is written as.
        id: Its id.
        special: A control token: never found in ordinary text.
        single_word: Found only where no letter or digit touches it.
        lstrip: Takes the white space before it along.
        rstrip: Takes the white space after it along.
        normalized: Looked for after the text was normalized, not before.
    """

    text: str
    id: int
    special: bool = True
    single_word: bool = False
    lstrip: bool = False
    rstrip: bool = False
    normalized: bool = False


def read_added(spec: Mapping[str, Any], *, control: Iterable[str] = ()) -> list[AddedToken]:
    """The added tokens of a `tokenizer.json`; those in `control` are control tokens whatever the file says."""
    control = frozenset(control)
    flags = ("single_word", "lstrip", "rstrip", "normalized")
    return [
        AddedToken(
            text=token["content"],
            id=token["id"],
            special=bool(token.get("special")) or token["content"] in control,
            **{flag: bool(token.get(flag)) for flag in flags},
        )
        for token in spec.get("added_tokens") or []
    ]


class PlainTokens:
    """Finds the tokens that ordinary text may hold, as `tokenizers` does: leftmost first, then longest."""

    def __init__(self, tokens: Iterable[AddedToken], *, form: str | None):
        """Keep the tokens that are not special; `form` is the Unicode form text is normalized to (`NFC`), or None."""
        plain = [token for token in tokens if not token.special and token.text]
        self._form = form
        self._before = _Finder({t.text: t for t in plain if not t.normalized or form is None})
        self._after = _Finder({self.normalize(t.text): t for t in plain if t.normalized and form is not None})
        self.any = bool(plain)

    def split(self, text: str) -> list[str | int]:
        """Normalized text between the tokens, and the tokens' ids, in order."""
        parts: list[str | int] = []
        for part in self._before.split(text):
            parts += [part] if isinstance(part, int) else self._after.split(self.normalize(part))
        return parts

    def normalize(self, text: str) -> str:
        """The text in its Unicode form."""
        # Plain ASCII is its own normal form, and most text is that.
        if self._form != "NFC" or text.isascii():
            return text
        return unicodedata.normalize("NFC", text)


class _Finder:
    def __init__(self, tokens: Mapping[str, AddedToken]):
        self._tokens = tokens
        longest_first = sorted(tokens, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if tokens else None

    def split(self, text: str) -> list[str | int]:
        if self._pattern is None:
            return [text]
        parts: list[str | int] = []
        at = 0
        for match in self._pattern.finditer(text):
            token = self._tokens[match[0]]
            start, stop = match.span()
            if token.single_word and (_is_word(text[start - 1 : start]) or _is_word(text[stop : stop + 1])):
                continue
            if token.lstrip:
                start = max(at, len(text[:start].rstrip(SPACES)))
            if token.rstrip:
                stop = len(text) - len(text[stop:].lstrip(SPACES))
            parts += [text[at:start], token.id]
            at = stop
        return [*parts, text[at:]]


def _is_word(letter: str) -> bool:
    return bool(re.match(r"\w", letter))
