"""Is the wanted model among those that an endpoint serves?"""

import difflib
from collections.abc import Sequence
from fnmatch import fnmatchcase


def served_name(model: str, served: Sequence[str]) -> str | None:
    """The name under which `model` is served, or None.

    Ollama adds `:latest` where no tag is given; proxies list patterns such as `openai/*`.
    """
    for name in served:
        if name in (model, f"{model}:latest") or ("*" in name and fnmatchcase(model, name)):
            return name
    return None


def not_served(model: str, url: str, served: Sequence[str]) -> str:
    """One line that says what an endpoint serves instead of `model`, the nearest name first."""
    near = difflib.get_close_matches(model, served, n=1, cutoff=0.5)
    shown = [*near, *(name for name in sorted(served) if name not in near)][:8]
    more = f" and {len(served) - len(shown)} more" if len(served) > len(shown) else ""
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"{url} does not serve {model}: it serves {', '.join(shown)}{more}{hint}"
