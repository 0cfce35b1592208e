"""A checkpoint's own chat template as a prompt style: which of its text are control tokens, and which is learnt."""

import itertools
import re
from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

from finetune.chat.template import ChatTemplate
from finetune.errors import FinetuneError
from finetune.instructions import Entry, Message
from finetune.segments import Segment, answered
from finetune.tokenizer import Tokenizer

_PRIVATE = [*range(0xE000, 0xF900), *range(0xF0000, 0xFFFFE), *range(0x100000, 0x10FFFE)]  # code points of no character
_PROBE = Entry(item_id="probe", instruction="?", output="!")


class _Marks(NamedTuple):
    """Characters that no message holds: within what must not become a control token, and around answers."""

    guard: str
    begin: str
    end: str


class ChatStyle:
    """Entries as the Jinja template that came with the tokenizer writes them.

    What `{% generation %}` encloses is trained. A template without it is rendered up to where each answer
    begins and up to where it ends; what lies between is trained, up to the control token that ends the turn.
    If the template writes earlier turns otherwise than when they were the last (Qwen3 leaves out what was
    thought), only the last answer is trained. Where it closes turns with no control token, the end of text
    follows the last answer, since nothing else could end it.

    Attributes:
        name: `chat`.
        chat_template: The template.
    """

    name = "chat"

    def __init__(self, source: str, tokenizer: Tokenizer):
        """Compile the template.

        Raises:
            FinetuneError: If it is not Jinja.
        """
        self.chat_template: str | None = source
        self._template = ChatTemplate(source, name=tokenizer.name, names=tokenizer.special_names)
        # Tokens that plain text may hold (`<think>`) are found by `encode`; the others only ever here.
        # A single character could not be kept from becoming one, so it never is one.
        control = {text for text in tokenizer.special_tokens if len(text) > 1}
        self._whose = tokenizer.name
        self._guarded = _Guarded(control)
        self._fixed = "".join([source, *control, *tokenizer.special_names.values()])

    def prompt(self, entry: Entry) -> list[Segment]:
        """See `Style`; raises as `ChatTemplate.render`."""
        marks = self._marks(entry.asked)
        text = self._render(entry.asked, marks, prompt=True)
        return [segment._replace(trained=False) for segment in self._segments(text, marks)]

    def conversation(self, entry: Entry) -> list[Segment]:
        """See `Style`.

        Raises:
            FinetuneError: As `ChatTemplate.render`, and if the template does not show where the last answer begins.
        """
        turns = answered(entry.turns)
        marks = self._marks(turns)
        text = self._render(turns, marks)
        if self._template.marks_answers:
            return self._segments(text, marks)
        pieces, at = [], 0
        for begin, end in self._answers(turns, text, marks):
            pieces += [text[at:begin], marks.begin, text[begin:end], marks.end]
            at = end
        return _with_end(self._segments("".join([*pieces, text[at:]]), marks))

    @cached_property
    def end(self) -> str | None:
        """See `Style`: the control token at the end of an answer, or right after it; None when there is none."""
        try:
            segments = self.conversation(_PROBE)
        except FinetuneError:
            return None
        trained = [n for n, segment in enumerate(segments) if segment.trained]
        near = segments[trained[-1] :][:2] if trained else []
        return next((segment.text for segment in near if segment.control), None)

    def _answers(self, turns: Sequence[Message], text: str, marks: _Marks) -> list[tuple[int, int]]:
        """Where each answer begins and ends in the rendered text; only the last when earlier ones are not there."""
        places = [n for n, turn in enumerate(turns) if turn.role == "assistant"]
        if not places:
            return []
        last = self._answer(turns, places[-1], text, marks)
        if last is None:
            raise FinetuneError(
                f"the chat template of {self._whose} writes a question otherwise once it is answered, so that answers "
                f"cannot be told apart; enclose them in {{% generation %}}, or choose another --style"
            )
        found = [self._earlier(turns, place, text, marks) for place in places[:-1]]
        spans = [*(span for span in found if span is not None), last]
        apart = all(one[1] <= other[0] for one, other in itertools.pairwise(spans))
        return spans if apart and None not in found else [last]

    def _earlier(self, turns: Sequence[Message], place: int, text: str, marks: _Marks) -> tuple[int, int] | None:
        try:
            return self._answer(turns, place, text, marks)
        except FinetuneError:  # the whole conversation was rendered: only this part of it is refused
            return None

    def _answer(self, turns: Sequence[Message], place: int, text: str, marks: _Marks) -> tuple[int, int] | None:
        before = self._render(turns[:place], marks, prompt=True)
        after = self._render(turns[: place + 1], marks) if place + 1 < len(turns) else text
        if not (text.startswith(after) and after.startswith(before)):
            return None
        ends = [match.end() for match in self._guarded.tokens.finditer(after, len(before))]
        return len(before), ends[-1] if ends else len(after)

    def _render(self, turns: Sequence[Message], marks: _Marks, *, prompt: bool = False) -> str:
        messages = [{"role": t.role, "content": self._guarded.guard(t.content, marks.guard)} for t in turns]
        return self._template.render(messages, add_generation_prompt=prompt, marks=marks[1:])

    def _marks(self, turns: Sequence[Message]) -> _Marks:
        taken = "".join([self._fixed, *(turn.content for turn in turns)])
        free = (letter for letter in map(chr, _PRIVATE) if letter not in taken)
        return _Marks(*itertools.islice(free, 3))

    def _segments(self, text: str, marks: _Marks) -> list[Segment]:
        """Rendered text at its control tokens and marks."""
        segments, trained = [], False
        for run in re.split(f"([{marks.begin}{marks.end}])", text):
            if run in (marks.begin, marks.end):
                trained = run == marks.begin
                continue
            for n, part in enumerate(self._guarded.tokens.split(run)):  # odd ones are tokens
                if part:
                    segments.append(Segment(part.replace(marks.guard, ""), control=n % 2 == 1, trained=trained))
        return segments


class _Guarded:
    """Keeps what messages spell from becoming control tokens, whatever a template puts around it.

    Attributes:
        tokens: Finds control tokens, the longest first.
    """

    def __init__(self, control: set[str]):
        longest_first = "|".join(map(re.escape, sorted(control, key=len, reverse=True)))
        self.tokens = re.compile(f"({longest_first})" if control else "((?!))")
        self._beginnings = {token[:n] for token in control for n in range(1, len(token))}
        self._longest = max(map(len, control), default=0)

    def guard(self, content: str, guard: str) -> str:
        """The content with `guard` after the first character of each token, and of a token's beginning at its end."""
        while self.tokens.search(content):  # again, since a token may hold or overlap another
            content = self.tokens.sub(lambda match: f"{match[0][0]}{guard}{match[0][1:]}", content)
        length = len(content.rstrip())  # templates trim
        for n in range(min(self._longest, length), 0, -1):
            at = length - n
            if content[at:length] in self._beginnings:
                content = f"{content[: at + 1]}{guard}{content[at + 1 :]}"
                length += 1
        return content


def _with_end(segments: list[Segment]) -> list[Segment]:
    """The end of text after the last answer, when no control token ends it."""
    trained = [n for n, segment in enumerate(segments) if segment.trained]
    if trained and not segments[trained[-1]].control:
        segments.insert(trained[-1] + 1, Segment("", trained=True, ends=True))
    return segments
