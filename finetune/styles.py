"""Prompt styles: how an entry becomes the text a model is asked with, and where its answer ends."""

from collections.abc import Callable
from dataclasses import dataclass

from finetune.errors import unknown_name
from finetune.instructions import Entry

Piece = tuple[str, bool]  # text, and whether it is a control token where the vocabulary has it


@dataclass(frozen=True)
class Style:
    """A way to write an entry.

    Attributes:
        name: What `--style` calls it.
        pieces: The prompt, up to where the answer begins.
        chat_template: The same prompt as a Jinja template over `messages`, for other programs.
        end: The control token that ends an answer, where the vocabulary has it; else the end of text does.
    """

    name: str
    pieces: Callable[[Entry], list[Piece]]
    chat_template: str
    end: str | None = None

    def prompt(self, entry: Entry) -> str:
        """The prompt as text."""
        return "".join(text for text, _ in self.pieces(entry))

    def answer(self, entry: Entry) -> str:
        """The expected answer as text, without what ends it."""
        return entry.output


_ALPACA_HEAD = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the request."
)


def _alpaca(entry: Entry) -> list[Piece]:
    """Taori et al. 2023, the prompt of Stanford Alpaca."""
    given = f"\n\n### Input:\n{entry.input}" if entry.input else ""
    return [(f"{_ALPACA_HEAD}\n\n### Instruction:\n{entry.instruction}{given}\n\n### Response:\n", False)]


def _phi3(entry: Entry) -> list[Piece]:
    """Abdin et al. 2024, the chat format of Phi-3."""
    asked = f"{entry.instruction}\n{entry.input}" if entry.input else entry.instruction
    return [
        ("<|user|>", True),
        (f"\n{asked}", False),
        ("<|end|>", True),
        ("\n", False),
        ("<|assistant|>", True),
        ("\n", False),
    ]


# A chat has no field for the input, so the user's message is the instruction with its input.
_ALPACA_CHAT = (
    _ALPACA_HEAD + "\n\n{% for m in messages %}{% if m['role'] == 'assistant' %}### Response:\n{{ m['content'] }}\n\n"
    "{% else %}### Instruction:\n{{ m['content'] }}\n\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}### Response:\n{% endif %}"
)
_PHI3_CHAT = (
    "{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)

STYLES = {
    "alpaca": Style("alpaca", _alpaca, _ALPACA_CHAT),
    "phi3": Style("phi3", _phi3, _PHI3_CHAT, end="<|end|>"),
}


def style_named(name: str) -> Style:
    """The style of this name.

    Raises:
        FinetuneError: If there is none; names the nearest.
    """
    if name not in STYLES:
        raise unknown_name("prompt style", name, STYLES)
    return STYLES[name]
