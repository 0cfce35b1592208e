"""A multiple-choice task of lm-eval's asked as something to write: the model names its choice, and is read."""

import random
import re
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace
from string import ascii_uppercase
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.metrics import mean
from lm_eval.api.task import ConfigurableTask

from benchmarks.choices.reading import Offer, read_choice

Doc = Any

INSTRUCTION = (
    'Answer with the letter of the right choice. If you write anything else, end with a line "Answer: X" '
    "where X is that letter.\n\n"
)
SHORT, LONG = 16, 512  # new tokens: for a letter, and for thinking aloud first

_OWN_LABEL = re.compile(r"[A-Za-z0-9]{1,2}")
_CLOSING = re.compile(r"\s*\b(?:answer|a)\s*:\s*$", re.IGNORECASE)
_WHICH = "Which of these is best?"
_EXAMPLE = "example"  # what lm-eval hands back to us where it writes an example


@dataclass(frozen=True)
class Question:
    """A document as it is asked.

    Attributes:
        text: The question with its lettered choices, up to "Answer:".
        offer: The choices.
        right: Labels of the right ones; none where the data do not tell.
    """

    text: str
    offer: Offer
    right: list[str]


class WrittenChoice(ConfigurableTask):  # type: ignore[misc]  # lm-eval has no types
    """Another task's documents, examples and name; its choices lettered, its answers read from text.

    Metrics are `acc`, for which an answer that names no choice is wrong, and `unparsed`, the share of these.
    """

    written_choice = True
    """Says that `doc_to_choice` tells what there is to choose from, though answers are text."""

    def __init__(self, task: ConfigurableTask, *, chat: bool):
        """Take over a task as it is set up, and leave it as it is.

        Args:
            task: A loaded multiple-choice task.
            chat: Whether it is asked in a conversation, where the model may think before it answers.
        """
        # Not the parent's own: that would load the data again.
        self.__dict__.update(task.__dict__)
        self._task = task
        self._config = copy(task.config)
        self._config.output_type = self.OUTPUT_TYPE = "generate_until"
        self._config.generation_kwargs = generation(chat=chat)
        self._config.gen_prefix, self._config.target_delimiter = None, " "
        marked = {"doc_to_text": _EXAMPLE, "doc_to_choice": _EXAMPLE, "doc_to_target": _EXAMPLE}
        self.fewshot_cfg = replace(task.fewshot_cfg, gen_prefix=None, target_delimiter=" ", **marked)
        self.multiple_input = self.multiple_target = 0
        self._metric_fn_list: dict[str, Any] = {}
        self._filters = [_Reading(self)]
        self._asked: dict[tuple[int, bool], tuple[Doc, Question]] = {}

    def question(self, doc: Doc, *, example: bool = False) -> Question:
        """A document as it is asked; `example`: as the task writes its examples."""
        # lm-eval asks for the parts of one document again and again. The document is kept so that its id stays its own.
        key = (id(doc), example)
        if key not in self._asked:
            self._asked[key] = (doc, _question(self._task, doc, example=example))
        return self._asked[key][1]

    def doc_to_text(self, doc: Doc, way: str | None = None) -> str:
        """The question with its choices, up to "Answer:"."""
        return self.question(doc, example=way is not None).text

    def doc_to_choice(self, doc: Doc, way: str | None = None) -> list[str]:
        """The labels."""
        return list(self.question(doc, example=way is not None).offer.labels)

    def doc_to_target(self, doc: Doc, way: str | None = None) -> Any:
        """The right label; a list where there are several; None where there is none."""
        right = self.question(doc, example=way is not None).right
        return right if len(right) > 1 else next(iter(right), None)

    def doc_to_prefix(self, doc: Doc) -> None:
        """Nothing: the answer is the model's own from its first word."""

    def fewshot_context(self, doc: Doc, **settings: Any) -> Any:
        """The prompt, what is wanted said first."""
        own = settings.pop("system_instruction", None) or ""
        return super().fewshot_context(doc, system_instruction=f"{own}\n\n{INSTRUCTION}".lstrip(), **settings)

    def process_results(self, doc: Doc, results: Sequence[str | None]) -> dict[str, float]:
        """Whether the label that was read is right, and whether none was."""
        return {"acc": float(results[0] in self.question(doc).right), "unparsed": float(results[0] is None)}

    def aggregation(self) -> dict[str, Any]:
        """Means of both."""
        return {"acc": mean, "unparsed": mean}

    def higher_is_better(self) -> dict[str, bool]:
        """See `process_results`."""
        return {"acc": True, "unparsed": False}


class _Reading:
    """In place of lm-eval's filters: every reply as the label it names."""

    name = "none"

    def __init__(self, task: WrittenChoice):
        self._task = task

    def apply(self, instances: Sequence[Instance]) -> None:
        for instance in instances:
            offer = self._task.question(instance.doc).offer
            instance.filtered_resps[self.name] = read_choice(str(instance.resps[0]), offer)


def generation(*, chat: bool) -> dict[str, Any]:
    """How the answer is generated: greedily; one line, or in a conversation until the model ends its turn."""
    length = {"until": [], "max_gen_toks": LONG} if chat else {"until": ["\n"], "max_gen_toks": SHORT}
    return {**length, "do_sample": False, "temperature": 0.0}


def _question(task: ConfigurableTask, doc: Doc, *, example: bool) -> Question:
    way = task.fewshot_cfg if example else task.config
    choices = [str(choice) for choice in task.doc_to_choice(doc, way.doc_to_choice)]
    text, target = task.doc_to_text(doc, way.doc_to_text), task.doc_to_target(doc, way.doc_to_target)
    if task.multiple_input:  # each choice is a context, which the one target goes on
        text, target, choices = "", text, [f"{choice}{task.config.target_delimiter}{target}" for choice in choices]
    return asked(str(text), choices, target, shuffle=_fixed_place(task))


def asked(text: str, choices: Sequence[str], target: Any, *, shuffle: bool = False) -> Question:
    """A question with lettered choices.

    Args:
        text: The task's own prompt. Where it lists choices that are letters, as MMLU's does, it stays as it is.
        choices: What there is to choose from.
        target: Place of the right one, its text, or a list of either.
        shuffle: Put the choices in an order drawn from the question, where the right one stands always first.
    """
    right = [choices[place] for place in _places(target, choices)]
    own = _own_labels(text, choices)
    if own:
        text = text if text.rstrip().endswith(":") else f"{text.rstrip()}\nAnswer:"
        return Question(text, Offer(list(own), list(own.values())), [choice.strip(" ().") for choice in right])
    places = list(range(len(choices)))
    if shuffle:
        random.Random(f"{text}\n{sorted(choices)}").shuffle(places)
    labels = labels_for(len(choices))
    texts = [choices[place].strip() for place in places]
    lines = [f"{label}. {choice}" for label, choice in zip(labels, texts, strict=True)]
    question = _CLOSING.sub("", text).rstrip() or _WHICH
    wanted = {places.index(place) for place in _places(target, choices)}
    offer = Offer(labels, texts)
    return Question("\n".join([question, *lines, "Answer:"]), offer, [labels[place] for place in sorted(wanted)])


def labels_for(n: int) -> list[str]:
    """A, B, ... Z, AA, AB, ..."""
    pairs = (first + second for first in ("", *ascii_uppercase) for second in ascii_uppercase)
    return [label for label, _ in zip(pairs, range(n), strict=False)]


def _own_labels(text: str, choices: Sequence[str]) -> dict[str, str]:
    """The labels that a prompt itself gives to what it lists, with what it lists; none where choices are no labels."""
    labels = [choice.strip(" ().") for choice in choices]
    found = {}
    for label in labels:
        line = re.search(rf"(?m)^[ \t]*\(?{re.escape(label)}[.):][ \t]*(.*)$", text)
        if not _OWN_LABEL.fullmatch(label) or line is None:
            return {}
        found[label] = line[1].strip()
    return found if len(found) == len(choices) > 1 else {}


def _places(target: Any, choices: Sequence[str]) -> Iterator[int]:
    """Where the right choices stand, as lm-eval reads a target: a place, a text, or a list of either."""
    for one in target if isinstance(target, list | tuple) else [target]:
        if isinstance(one, str) and one in choices:
            yield list(choices).index(one)
        elif isinstance(one, int) and 0 <= one < len(choices):
            yield one


def _fixed_place(task: ConfigurableTask) -> bool:
    """Whether the right choice stands in the same place in every document, so that its letter would tell."""
    target = task.config.doc_to_target
    return isinstance(target, int) or (isinstance(target, str) and target.strip().isdigit())
