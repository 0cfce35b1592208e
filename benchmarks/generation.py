"""How an lm-eval task wants text generated: its generation arguments read into our sampling settings."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.errors import BenchmarkError
from finetune.generate import Sampling
from finetune.tokenizer import Tokenizer

_UNDERSTOOD = {"until", "do_sample", "temperature", "top_k", "top_p", "max_gen_toks"}
_WITHOUT_EFFECT: dict[str, Any] = {"num_beams": 1, "num_return_sequences": 1, "repetition_penalty": 1}


@dataclass(frozen=True)
class Generation:
    """Stop strings (the answer ends before the first of them) and how tokens are chosen."""

    until: tuple[str, ...]
    sampling: Sampling


def read_generation(arguments: Mapping[str, Any], tokenizer: Tokenizer, *, max_gen_toks: int) -> Generation:
    """The settings that lm-eval's `hf` model would use for these `generation_kwargs`.

    Args:
        arguments: A request's generation arguments, in any of the spellings lm-eval knows.
        tokenizer: Its end-of-text token, written out, stops an answer too.
        max_gen_toks: New tokens when the task does not say.

    Raises:
        BenchmarkError: If the task asks for something that decoding here cannot do (beams, penalties).
    """
    from lm_eval.models.utils import handle_stop_sequences, normalize_gen_kwargs

    wanted = normalize_gen_kwargs(dict(arguments), max_gen_toks)
    for name, value in wanted.items():
        if name not in _UNDERSTOOD and _WITHOUT_EFFECT.get(name, ...) != value:
            raise BenchmarkError(
                f"the task asks for generation with {name}={value!r}, which a native checkpoint cannot do; "
                f"known: {', '.join(sorted(_UNDERSTOOD))}"
            )
    until = handle_stop_sequences(wanted["until"], eos=tokenizer.end_token)
    sampling = Sampling(
        max_new_tokens=wanted["max_gen_toks"],
        temperature=float(wanted.get("temperature", 0.0)) if wanted["do_sample"] else 0.0,
        top_k=wanted.get("top_k") or None,
        top_p=float(wanted.get("top_p", 1.0)),
    )
    return Generation(tuple(stop for stop in until if stop), sampling)


def stopper(tokenizer: Tokenizer, until: Sequence[str]) -> Callable[[Sequence[int]], bool]:
    """A test whether an answer so far, given as ids, has just completed one of the stop strings."""
    # A token holds at least one byte, so a string that is newly complete lies within this many tokens.
    reach = max(len(stop.encode()) for stop in until)

    def finished(tokens: Sequence[int]) -> bool:
        tail = tokenizer.decode(tokens[-reach:])
        return any(stop in tail for stop in until)

    return finished


def cut(text: str, until: Sequence[str]) -> str:
    """The text before the first stop string."""
    for stop in until:
        text = text.split(stop, maxsplit=1)[0]
    return text
