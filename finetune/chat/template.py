"""A checkpoint's chat template: Jinja that strangers wrote, run in a sandbox and no longer than it may."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import wraps
from typing import Any, NoReturn

from jinja2 import TemplateError, TemplateSyntaxError, nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from finetune.errors import FinetuneError

MOST_TURNS = 200_000  # a second or so
MOST_REPEATED = 10_000_000  # characters or items that a `*`, `+`, `~` or a width may make
_PADDED = re.compile(r"%[^%a-zA-Z]*(?:[0-9]{8}|[*])")  # a width that would fill the memory, or comes from elsewhere
_GENERATION = re.compile(r"\{%[-+]?\s*generation\b")


class ChatTemplate:
    """A template with the variables, filters and tags that transformers gives it.

    Attributes:
        source: As it was written.
        marks_answers: Whether it says by `{% generation %}` what an assistant wrote.
    """

    def __init__(
        self,
        source: str,
        *,
        name: str,
        names: Mapping[str, str],
        now: Callable[[], datetime] = datetime.now,
        most_turns: int = MOST_TURNS,
    ):
        """Compile a template.

        Args:
            source: The template.
            name: Whose it is, for messages.
            names: Variables such as `bos_token`.
            now: The clock that `strftime_now` reads.
            most_turns: That all loops and macros of one rendering together may take.

        Raises:
            FinetuneError: If it is not Jinja.
        """
        self.source, self.marks_answers = source, bool(_GENERATION.search(source))
        self._name, self._names = name, dict(names)
        self._environment = _Sandbox(now, most_turns)
        try:
            tree = self._environment.parse(source)
            for node in tree.find_all((nodes.For, nodes.Macro, nodes.CallBlock)):
                assert isinstance(node, nodes.For | nodes.Macro | nodes.CallBlock)
                node.body.insert(0, _count_turn(node.lineno))
            for joined in tree.find_all(nodes.Concat):
                joined.nodes = [_measured(part) for part in joined.nodes]
            self._template = self._environment.from_string(tree)
        except (TemplateError, RecursionError) as error:
            raise self._failed("is not Jinja that can be run", error) from None

    def render(
        self, messages: Sequence[Mapping[str, str]], *, add_generation_prompt: bool, marks: tuple[str, str] = ("", "")
    ) -> str:
        """The conversation as text.

        Args:
            messages: Each with `role` and `content`.
            add_generation_prompt: Go on to where an assistant's answer begins.
            marks: Put before and after what `{% generation %}` encloses.

        Raises:
            FinetuneError: If the template fails, refuses the conversation, reaches outside the sandbox or
                does not come to an end.
        """
        self._environment.turns = 0
        variables = {**self._names, _BEGIN: marks[0], _END: marks[1], "tools": None, "documents": None}
        copies = [dict(message) for message in messages]
        try:
            return self._template.render(variables, messages=copies, add_generation_prompt=add_generation_prompt)
        except SecurityError as error:
            raise self._failed("does what it may not", error) from None
        except _RefusedError as error:
            raise self._failed("refuses the conversation", error) from None
        except Exception as error:  # whatever Python raises inside code that somebody else wrote
            raise self._failed("failed", error) from None

    def _failed(self, how: str, error: Exception) -> FinetuneError:
        why = " ".join(str(error).split())[:200].rstrip(".")
        line = f" (line {error.lineno})" if isinstance(error, TemplateSyntaxError) else ""
        return FinetuneError(
            f"the chat template of {self._name} {how}: {why or type(error).__name__}{line}; "
            f"mend it, or choose another --style"
        )


_BEGIN, _END = "_generation_begins", "_generation_ends"


class _RefusedError(TemplateError):
    """What `raise_exception` raises."""


class _Generation(Extension):
    """`{% generation %}...{% endgeneration %}`, what an assistant wrote: its text between two marks."""

    tags = {"generation"}  # noqa: RUF012  # as Jinja declares it

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        begin, end = (nodes.Output([nodes.Name(name, "load")]) for name in (_BEGIN, _END))
        return nodes.Scope([begin, *body, end]).set_lineno(line)


class _Sandbox(ImmutableSandboxedEnvironment):
    """Jinja's own sandbox with an end to loops, and to text that doubles or is padded without end."""

    intercepted_binops = frozenset(("*", "**", "+", "%"))

    def __init__(self, now: Callable[[], datetime], most_turns: int):
        super().__init__(
            trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, "jinja2.ext.loopcontrols"], cache_size=0
        )
        self.turns, self.most_turns = 0, most_turns
        for name in ("center", "indent"):
            self.filters[name] = _with_modest_numbers(self.filters[name])
        self.filters["tojson"] = _with_modest_numbers(_tojson)
        self.globals.pop("lipsum", None)  # writes as much text as it is told
        self.globals["raise_exception"] = _raise_exception
        self.globals["strftime_now"] = lambda form: now().strftime(form)

    def count_turn(self) -> None:
        """Called at each turn of a loop: the sandbox itself lets nested loops run for ever."""
        self.turns += 1
        if self.turns > self.most_turns:
            raise SecurityError(f"its loops do not end within {self.most_turns:,} turns")

    def measured(self, part: Any) -> Any:
        """What `~` joins, unless it has grown huge."""
        return _joined(part, "")

    def call(self, context: Context, called: Any, /, *args: Any, **kwargs: Any) -> Any:
        """As the sandbox, but no method of a string (`center`, `zfill`) is told to write for ever."""
        if isinstance(getattr(called, "__self__", None), str):
            called = _with_modest_numbers(called)
        return super().call(context, called, *args, **kwargs)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """`*`, `**`, `+` and `%`, unless they make something huge."""
        if operator == "+":
            _joined(left, right)
        if operator == "%" and isinstance(left, str) and _PADDED.search(left):
            raise SecurityError("its text grows too long")
        if operator == "**" and (abs(left) > 2**32 or abs(right) > 64):
            raise SecurityError("its numbers grow too large")
        for one, other in ((left, right), (right, left)):
            if isinstance(one, str | list | tuple) and isinstance(other, int) and len(one) * other > MOST_REPEATED:
                raise SecurityError("its text grows too long")
        return super().call_binop(context, operator, left, right)


def _joined(left: Any, right: Any) -> Any:
    """The left one, if both together are not too long."""
    if sum(len(part) for part in (left, right) if isinstance(part, str | list | tuple)) > MOST_REPEATED:
        raise SecurityError("its text grows too long")
    return left


def _with_modest_numbers(called: Callable[..., Any]) -> Callable[..., Any]:
    """A filter or method that refuses widths which would fill the memory."""

    @wraps(called)
    def modest(*args: Any, **kwargs: Any) -> Any:
        for value in [*args, *kwargs.values()]:
            if isinstance(value, int) and value > MOST_REPEATED:
                raise SecurityError("its text grows too long")
        return called(*args, **kwargs)

    return modest


def _measured(part: nodes.Expr) -> nodes.Expr:
    return nodes.Call(nodes.EnvironmentAttribute("measured"), [part], [], None, None, lineno=part.lineno)


def _count_turn(line: int) -> nodes.Node:
    call = nodes.Call(nodes.EnvironmentAttribute("count_turn"), [], [], None, None)
    return nodes.ExprStmt(call).set_lineno(line)


def _raise_exception(message: str) -> NoReturn:
    raise _RefusedError(message)


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Plain JSON: Jinja's own filter escapes for HTML."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)
