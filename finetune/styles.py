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
        end: The control token that ends an answer, where the vocabulary has it; else the end of text does.
    """

    name: str
    pieces: Callable[[Entry], list[Piece]]
    end: str | None = None

    def prompt(self, entry: Entry) -> str:
        """The prompt as text."""
        return "".join(text for text, _ in self.pieces(entry))

    def answer(self, entry: Entry) -> str:
        """The expected answer as text, without what ends it."""
        return entry.output


def _alpaca(entry: Entry) -> list[Piece]:
    """Taori et al. 2023, the prompt of Stanford Alpaca."""
    head = "Below is an instruction that describes a task. Write a response that appropriately completes the request."
    given = f"\n\n### Input:\n{entry.input}" if entry.input else ""
    return [(f"{head}\n\n### Instruction:\n{entry.instruction}{given}\n\n### Response:\n", False)]


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


STYLES = {
    "alpaca": Style("alpaca", _alpaca),
    "phi3": Style("phi3", _phi3, end="<|end|>"),
}


def style_named(name: str) -> Style:
    """The style of this name.

    Raises:
        FinetuneError: If there is none; names the nearest.
    """
    if name not in STYLES:
        raise unknown_name("prompt style", name, STYLES)
    return STYLES[name]
