"""Our transformer as an lm-eval model, with the semantics of lm-eval's own `hf` model.

Differences, all on purpose: a prompt that spells a control token stays text; a stop string is not looked
for in the names of control tokens; log-softmax is taken in float32 whatever the weights are; a
`repetition_penalty` that comes with a model has no say; and what makes `hf` stop with an assertion (an
empty continuation, a continuation longer than the context, a context of spaces only) is scored.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from benchmarks.errors import BenchmarkError
from benchmarks.generation import Generation, cut, read_generation, stopper
from benchmarks.loglikelihood import Window, score_windows, window
from benchmarks.reader import Reader
from benchmarks.resuming import Answer, Hooks, Keep, Pairs, Prompts, ResumingLM, Texts
from finetune.budget import Budget, budget_for
from finetune.examples import stop_tokens
from finetune.generate import generate
from finetune.prepack import prepack
from finetune.segments import Style
from finetune.tokenizer import Tokenizer
from finetune.transformer import Transformer


@dataclass
class _Pending:
    """A request whose windows are being scored."""

    left: int
    truncated: bool
    loglikelihood: float = 0.0
    greedy: bool = True

    def answer(self) -> Answer:
        return {"loglikelihood": self.loglikelihood, "greedy": self.greedy, "truncated": self.truncated}


class NativeLM(ResumingLM):
    """A `Transformer` and its `Tokenizer` for `lm_eval.evaluate`."""

    def __init__(
        self,
        model: Transformer,
        tokenizer: Tokenizer,
        *,
        style: Style | None = None,
        hooks: Hooks | None = None,
        budget: Budget | None = None,
        batch_size: int = 64,
        max_gen_toks: int = 256,
        seed: int = 0,
        keeps_weights: bool = True,
    ):
        """Wrap a model, on whatever device and in whatever dtype it is.

        Args:
            model: The model.
            tokenizer: Its tokenizer.
            style: What chats are put into; without one there are none.
            hooks: See `Hooks`.
            budget: How much is computed at once; by the memory there is when not given.
            batch_size: Prompts decoded side by side.
            max_gen_toks: New tokens of tasks that do not say how many.
            seed: Of tasks that sample.
            keeps_weights: The model stays as it is. Otherwise its weights are laid out anew before it writes
                (`finetune.prepack`), which makes writing quicker, and the model can then be neither trained nor saved.
        """
        super().__init__(hooks, seed=seed)
        self.model, self.tokenizer = model, tokenizer
        self._reader = Reader(tokenizer, style)
        self._control = frozenset(tokenizer.special_tokens.values())
        self._device = model.device  # lm-eval's own name for it
        self._ends = stop_tokens(style, tokenizer) if style else tokenizer.ends
        self._budget = budget or budget_for(model)
        self._batch_size, self._max_gen_toks, self._keeps_weights = batch_size, max_gen_toks, keeps_weights

    @property
    def tokenizer_name(self) -> str:
        """What lm-eval writes beside results."""
        return self.tokenizer.name

    def chat_template(self, chat_template: bool | str = False) -> str:
        """What lm-eval writes beside results."""
        return (self._reader.style.chat_template or "") if chat_template and self._reader.style else ""

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """A conversation as the model reads it; see `Reader.chat`."""
        return self._reader.chat(chat_history, answering=add_generation_prompt)

    @property
    def max_length(self) -> int:
        """Tokens the model reads at once."""
        return self.model.config.context_length

    @property
    def computed_with(self) -> str:
        """The dtype."""
        return str(self.model.dtype)

    def sampled(self, arguments: Mapping[str, Any]) -> bool:
        """See `ResumingLM`."""
        return bool(self._read(arguments).sampling.temperature)

    def as_sent(self, context: str) -> str:
        """See `ResumingLM`."""
        tokens = self._reader.text(context)
        if len(tokens) <= self.max_length:
            return context
        return f"[{len(tokens) - self.max_length} tokens cut] {self.tokenizer.decode(tokens[-self.max_length :])}"

    def score_pairs(self, pairs: Pairs, keep: Keep) -> None:
        """See `ResumingLM`."""
        self._score({key: self._pair_windows(*pair) for key, pair in pairs.items()}, keep)

    def score_texts(self, texts: Texts, keep: Keep) -> None:
        """See `ResumingLM`."""
        # A start token is itself predicted after the prefix, which may be the same token again: so `hf` counts.
        start = [self._reader.prefix]
        rolling = {key: (self._rolling(start, self._reader.text(text)), False) for key, (text,) in texts.items()}
        self._score(rolling, keep)

    def _answers(self, *arguments: Any) -> list[Answer]:
        with _answering(self.model):
            return super()._answers(*arguments)

    def _score(self, requests: Mapping[str, tuple[list[Window], bool]], keep: Keep) -> None:
        """Keeps answers as batches finish, given each request's windows and whether its context was cut."""
        pending = {key: _Pending(len(windows), cut_off) for key, (windows, cut_off) in requests.items()}
        for key, state in pending.items():
            if not state.left:
                keep(key, state.answer())
        owners = [(key, each) for key, (windows, _) in requests.items() for each in windows]
        windows = [each for _, each in owners]
        for batch in score_windows(self.model, windows, budget=self._budget, say=self._hooks.warn):
            for index, score in batch:
                state = pending[owners[index][0]]
                state.left -= 1
                state.loglikelihood += score.loglikelihood
                state.greedy &= score.greedy
                if not state.left:
                    keep(owners[index][0], state.answer())

    def _pair_windows(self, context: str, continuation: str) -> tuple[list[Window], bool]:
        """The windows that score a continuation, and whether the context is cut."""
        before, scored = self._reader.pair(context, continuation)
        if not scored:
            if continuation:
                # Nothing would be the likeliest of all choices.
                raise BenchmarkError(f"{continuation!r} is nothing to {self.tokenizer.name}: no token stands for it")
            return [], False
        if len(scored) > self.max_length:
            return self._rolling(before, scored), True
        return [window(before, scored, self.max_length)], len(before) + len(scored) > self.max_length + 1

    def _rolling(self, before: Sequence[int], scored: Sequence[int]) -> list[Window]:
        """Windows that score every token once, the first after the last of `before`."""
        spans = get_rolling_token_windows(list(scored), before[-1], self.max_length, context_len=1)
        pairs = [make_disjoint_window(span) for span in spans]
        return [window(context, targets, self.max_length) for context, targets in pairs]

    def write(self, prompts: Prompts, keep: Keep) -> None:
        """Keeps answers as they end, one group of equal settings after the other.

        Raises:
            BenchmarkError: If a task wants as many new tokens as the model's context is long.
        """
        groups: dict[Generation, dict[str, str]] = {}
        for key, (context, arguments, _) in prompts.items():
            groups.setdefault(self._read(arguments), {})[key] = context
        if not self._keeps_weights:
            prepack(self.model)
        for generation, contexts in groups.items():
            self._generate_group(generation, contexts, keep)

    def _read(self, arguments: Mapping[str, Any]) -> Generation:
        return read_generation(arguments, self.tokenizer, max_gen_toks=self._max_gen_toks)

    def _generate_group(self, generation: Generation, contexts: Mapping[str, str], keep: Keep) -> None:
        keys, wanted = list(contexts), generation.sampling.max_new_tokens
        room = self.max_length - wanted
        if room <= 0:
            raise BenchmarkError(
                f"the task wants up to {wanted} new tokens, which leaves no room for a prompt in the model's context "
                f"of {self.max_length}; choose a task with shorter answers or a model with a longer context"
            )
        whole = [self._reader.text(text) or [self._reader.prefix] for text in contexts.values()]
        stop = stopper(self.tokenizer, generation.until)
        written = generate(
            self.model,
            [prompt[-room:] for prompt in whole],
            generation.sampling,
            stop_tokens=self._ends | self._named(generation.until),
            batch_size=self._batch_size,
            vocab_size=self.tokenizer.vocab_size,
            finished=lambda _, tokens: stop(self._plain(tokens)),
            seeds=[int(key[:15], 16) for key in keys],
            budget=self._budget,
            say=self._hooks.warn,
        )
        for index, made in written:
            text = cut(self.tokenizer.decode(self._plain(made.tokens)), generation.until)
            keep(
                keys[index],
                {"text": text, "tokens": len(made.tokens), "stop_reason": made.stop_reason}
                | {"truncated": len(whole[index]) > room},
            )

    def _named(self, until: Sequence[str]) -> frozenset[int]:
        """The control tokens among the stop strings."""
        return self._control & {self.tokenizer.control(stop) for stop in until}

    def _plain(self, tokens: Sequence[int]) -> list[int]:
        """What was written without the control tokens in it: tasks compare answers with plain text."""
        return [token for token in tokens if token not in self._control]


@contextmanager
def _answering(model: Transformer) -> Iterator[None]:
    """The model in eval mode while the block runs, then as it was: it may be in the midst of training."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)
