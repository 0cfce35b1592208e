"""Texts of lm-eval's requests to ids, as lm-eval's `hf` model reads them."""

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.errors import BenchmarkError
from finetune.examples import encode_segments
from finetune.instructions import Entry, Message
from finetune.segments import Segment, Style, text_of
from finetune.tokenizer import Tokenizer


class Reader:
    """A tokenizer, with the chat template or prompt style that chats are put into.

    A prompt that spells a control token stays text; what a template writes are control tokens.

    Attributes:
        prefix: What stands before a text that has nothing before it.
    """

    def __init__(self, tokenizer: Tokenizer, style: Style | None = None):
        """Nothing is read yet."""
        self.tokenizer, self.style = tokenizer, style
        self.prefix = _prefix_of(tokenizer)
        self._chats: dict[str, list[Segment]] = {}  # what a style wrote, by its text
        self._stems: dict[str, list[int]] = {}

    def chat(self, turns: Sequence[Mapping[str, Any]], *, answering: bool = True) -> str:
        """A conversation as the model reads it; texts made here are known to `text` and `pair`.

        Args:
            turns: `role` and `content` of each.
            answering: The model's turn begins where the text ends; otherwise the last turn is the beginning
                of its answer, which goes on where the text ends.

        Raises:
            BenchmarkError: If the model has no template.
            FinetuneError: If the template refuses the conversation.
        """
        if self.style is None:
            raise BenchmarkError(
                f"--chat: {self.tokenizer.name} has no chat template; go without, or name a checkpoint that has one"
            )
        said = [Message(turn["role"], str(turn["content"])) for turn in turns]
        begun = None if answering else said.pop().content
        asked = said[-1].content if said else ""
        segments = [*self.style.prompt(Entry(item_id="chat", instruction=asked, messages=tuple(said)))]
        segments += [Segment(begun)] if begun else []
        text = text_of(segments)
        self._chats[text] = segments
        return text

    def text(self, text: str) -> list[int]:
        """Ids of a text, the token first that the model wants before every text."""
        if text in self._chats:
            return encode_segments(self._chats[text], self.tokenizer)[0]
        start = self.tokenizer.start_of_text
        return [*([] if start is None else [start]), *self.tokenizer.encode(text)]

    def pair(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        """Ids of context and continuation, cut where the context alone would end.

        Spaces at the end of the context go to the continuation, since byte-level BPEs put a space before a
        word; both are encoded together, since a BPE may merge across the border.
        """
        stem = context.rstrip()
        moved = context[len(stem) :] + continuation
        if not stem:
            return [self.prefix], self.tokenizer.encode(moved)
        if context in self._chats:
            written = _without(self._chats[context], len(context) - len(stem))
            before = encode_segments(written, self.tokenizer)[0]
            whole = encode_segments([*written, Segment(moved)], self.tokenizer)[0]
        else:
            if stem not in self._stems:
                self._stems[stem] = self.text(stem)
            before, whole = self._stems[stem], self.text(stem + moved)
        # Where merging leaves nothing after the context, the continuation's own ids are scored.
        return before, whole[len(before) :] or self.tokenizer.encode(moved, after="text")


def _without(segments: Sequence[Segment], characters: int) -> list[Segment]:
    """The segments without so many characters at their end."""
    kept = [*segments]
    while characters and kept:
        last = kept.pop()
        if len(last.text) > characters:
            kept.append(last._replace(text=last.text[:-characters]))
        characters -= min(characters, len(last.text))
    return kept


def _prefix_of(tokenizer: Tokenizer) -> int:
    """What stands before a text that has nothing before it: the start token, used otherwise or not, else the end."""
    named = tokenizer.control(tokenizer.special_names.get("bos_token", ""))
    return tokenizer.end_of_text if named is None else named
