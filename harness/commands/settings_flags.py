"""A command's flags made from a settings model: one name, one default and one description, in one place."""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import typer
from pydantic import BaseModel


def with_flags_of(
    model: type[BaseModel], *, also: Mapping[str, Sequence[str]] | None = None
) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Give a command, which takes `**settings`, a flag for every field of a model.

    The flags that were given arrive in `settings`; what was not given is left to the model's defaults, or to
    a recipe's.

    Args:
        model: Pydantic model whose fields have descriptions.
        also: Other names of a field's flag.
    """

    def decorate(command: Callable[..., int]) -> Callable[..., int]:
        signature = inspect.signature(command)
        own = [p for p in signature.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
        made = [_flag(name, model, (also or {}).get(name, ())) for name in model.model_fields]

        @functools.wraps(command)
        def run(**given: Any) -> int:
            chosen = {p.name: given.pop(p.name) for p in made}
            return command(**given, **{name: value for name, value in chosen.items() if value is not None})

        parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in [*own, *made]]
        run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in parameters} | {"return": int}
        return run

    return decorate


def _flag(name: str, model: type[BaseModel], also: Sequence[str]) -> inspect.Parameter:
    field = model.model_fields[name]
    dashed = name.replace("_", "-")
    names = [f"--{dashed}/--no-{dashed}" if field.annotation is bool else f"--{dashed}", *also]
    default = "" if field.default is None else f" [{_shown(field.default)}]"
    option = typer.Option(*names, help=f"{field.description}{default}", show_default=False)
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[field.annotation | None, option],  # type: ignore[operator]
    )


def _shown(default: Any) -> str:
    if isinstance(default, bool):
        return "yes" if default else "no"
    return f"{default:g}" if isinstance(default, float) else str(default)
