"""Decoding with a key-value cache: many prompts side by side, none waiting for another, no beginning read twice."""

from collections.abc import Callable, Iterator, Sequence

from finetune.budget import Budget, budget_for
from finetune.memory import freed_memory_kept
from finetune.sampling import Sampling
from finetune.transformer import Transformer
from finetune.writing import Finished, Generated, Rules, StopReason, Writing

__all__ = ["Finished", "Generated", "Sampling", "StopReason", "fit_prompt", "generate"]


def generate(
    model: Transformer,
    prompts: Sequence[Sequence[int]],
    sampling: Sampling,
    *,
    stop_tokens: frozenset[int],
    batch_size: int = 64,
    vocab_size: int | None = None,
    finished: Finished | None = None,
    seeds: Sequence[int] | None = None,
    budget: Budget | None = None,
    say: Callable[[str], None] = lambda note: None,
) -> Iterator[tuple[int, Generated]]:
    """Answer every prompt; yields (index of the prompt, answer) as answers end.

    Prompts are read without padding, what several begin with once; whoever has ended makes room for the next.
    A prompt must leave room for one token at least: shorten it before (`fit_prompt`).

    Args:
        model: In eval mode.
        prompts: Token ids, none empty.
        sampling: See `Sampling`.
        stop_tokens: Ids that end an answer.
        batch_size: Prompts answered side by side.
        vocab_size: Ids from here on are never chosen (rows with which an embedding was padded).
        finished: Told the index of a prompt and its answer so far, says whether it ends here.
        seeds: Where each prompt's random numbers start, when an answer must not depend on its place.
        budget: What may be in memory at once; by the memory there is when not given.
        say: Told when memory runs out and fewer prompts go on side by side.

    Raises:
        FinetuneError: If the model's scores are no numbers, or memory does not even suffice for one prompt.
    """
    seeds = seeds or range(sampling.seed, sampling.seed + len(prompts))
    if not prompts:
        return
    rules = Rules(sampling, stop_tokens, vocab_size, finished)
    with freed_memory_kept(model.device):
        yield from Writing(model, prompts, seeds, rules, batch_size, budget or budget_for(model), say).run()


def fit_prompt(prompt: Sequence[int], context_length: int, room: int) -> tuple[list[int], bool]:
    """The prompt's last tokens such that `room` new ones fit, and whether any were dropped.

    When the context is small, new tokens get at most half of it.
    """
    most = max(context_length - room, context_length // 2)
    return list(prompt[-most:]), len(prompt) > most
