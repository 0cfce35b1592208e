"""What an endpoint is to benchmarks: it scores a text, and writes what is wanted of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from benchmarks.errors import BenchmarkError

_UNDERSTOOD = {"until", "do_sample", "temperature", "top_p", "max_gen_toks"}
_WITHOUT_EFFECT: dict[str, Any] = {"num_beams": 1, "num_return_sequences": 1, "repetition_penalty": 1, "top_k": None}


class EndpointFailure(Exception):
    """One request got no answer, in one line why.

    Attributes:
        too_long: Whether the prompt does not fit the model's context.
    """

    def __init__(self, why: str, *, too_long: bool = False):
        """`why` is for people."""
        super().__init__(why)
        self.too_long = too_long


class ScoredToken(Protocol):
    """A token of a text."""

    @property
    def end(self) -> int:
        """Where it ends in the text, in characters."""

    @property
    def loglikelihood(self) -> float | None:
        """In nats, given all before it; None where that is not known, as of a first token."""

    @property
    def likeliest(self) -> bool:
        """Whether greedy decoding would have written it there."""


@dataclass(frozen=True)
class Wanted:
    """How a text is to be written.

    Attributes:
        until: The text ends before the first of these; a caller cuts it there, so not all need be sent.
        max_tokens: Tokens it may have.
        temperature: 0 for the likeliest.
        top_p: Nucleus; None for the endpoint's own.
        seed: Of this draw; None where nothing is drawn.
    """

    until: tuple[str, ...]
    max_tokens: int
    temperature: float = 0.0
    top_p: float | None = None
    seed: int | None = None


@dataclass(frozen=True)
class Written:
    """What an endpoint wrote, thinking apart, and why it stopped."""

    text: str
    stop_reason: str
    reasoning: str | None = None
    tokens: int | None = None


Messages = Sequence[dict[str, str]]


class Connection(Protocol):
    """An endpoint within one event loop; both may raise `EndpointFailure`."""

    async def score(self, text: str) -> Sequence[ScoredToken]:
        """The tokens of a text."""

    async def write(self, prompt: "str | Messages", wanted: Wanted) -> Written:
        """What comes after a text, or after messages."""


def read_wanted(arguments: Mapping[str, Any], max_gen_toks: int, draw: int = 0) -> Wanted:
    """A task's generation arguments, in any of the spellings that lm-eval knows.

    Raises:
        BenchmarkError: If the task asks for something that the API of endpoints has no word for.
    """
    from lm_eval.models.utils import normalize_gen_kwargs

    wanted = normalize_gen_kwargs(dict(arguments), max_gen_toks)
    draws = bool(wanted["do_sample"])
    for name, value in wanted.items():
        harmless = _WITHOUT_EFFECT.get(name, ...) == value or (name == "top_k" and not draws)
        if name not in _UNDERSTOOD and not harmless:
            raise BenchmarkError(
                f"the task asks for generation with {name}={value!r}, which an endpoint cannot be asked for; "
                f"known: {', '.join(sorted(_UNDERSTOOD))}"
            )
    temperature = float(wanted.get("temperature") or 0.0) if draws else 0.0
    return Wanted(
        until=tuple(stop for stop in wanted["until"] if stop),
        max_tokens=wanted["max_gen_toks"],
        temperature=temperature,
        top_p=wanted.get("top_p") if temperature else None,
        seed=draw if temperature else None,
    )
