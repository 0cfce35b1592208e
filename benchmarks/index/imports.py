"""Packages that a task's Python code imports and this machine lacks, found without running the code."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from typing_extensions import TypeIs

_PIP_NAMES = {
    "antlr4": "antlr4-python3-runtime==4.11",
    "bs4": "beautifulsoup4",
    "math_verify": "math_verify[antlr4_11_0]",
    "MeCab": "mecab-python3",
    "PIL": "pillow",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}
_TASKS = "lm_eval.tasks."

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def missing_packages(function: str) -> frozenset[str]:
    """What `pip install` must be given before a task's function can run.

    Counted are imports that its module makes when it is loaded, those of other task files that it loads, and those
    in the function itself and what it calls of its module. An import that the code can do without is not counted.

    Args:
        function: As task settings hold it: `FOLDER/MODULE.NAME`.
    """
    path, _, name = function.rpartition(".")
    file = Path(f"{path}.py")
    return _missing_in(file, name) if file.is_file() else frozenset()


def nltk_data(function: str) -> frozenset[str]:
    """Names of the nltk resources that the function's module, or task files it loads, would download."""
    file = Path(f"{function.rpartition('.')[0]}.py")
    return _nltk_data(file) if file.is_file() else frozenset()


@cache
def _nltk_data(file: Path) -> frozenset[str]:
    found = set(re.findall(r"nltk\.download\(\s*[\"'](\w+)", file.read_text("utf-8")))
    for other in _other_files(file):
        found |= _nltk_data(other)
    return frozenset(found)


@cache
def _missing_in(file: Path, name: str) -> frozenset[str]:
    tree = _parsed(file)
    wanted = {module for node in _reached(tree, name) for module in _imported(node.body)}
    return frozenset(_missing_at_load(file) | {_PIP_NAMES.get(m, m) for m in wanted if not _is_here(m)})


@cache
def _missing_at_load(file: Path) -> frozenset[str]:
    missing = {_PIP_NAMES.get(m, m) for m in _imported(_parsed(file).body) if not _is_here(m)}
    for other in _other_files(file):
        missing |= _missing_at_load(other)
    return frozenset(missing)


@cache
def _parsed(file: Path) -> ast.Module:
    try:
        return ast.parse(file.read_text("utf-8"))
    except (SyntaxError, UnicodeDecodeError):  # loading it will say so
        return ast.Module([], [])


@cache
def _other_files(file: Path) -> frozenset[Path]:
    """Task files that this one loads; no file is followed back to itself."""
    root = next((parent for parent in file.parents if parent.name == "tasks"), file.parent)
    found = set()
    for node in ast.walk(_parsed(file)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(_TASKS[:-1]):
            base = root.joinpath(*(node.module or "").split(".")[2:])
            found |= {base.with_suffix(".py"), *(base / f"{alias.name}.py" for alias in node.names)}
        elif isinstance(node, ast.ImportFrom) and node.level == 1:
            base = file.parent.joinpath(*(node.module or "").split("."))
            found |= {base.with_suffix(".py"), *(base / f"{alias.name}.py" for alias in node.names)}
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if alias.name.startswith(_TASKS)]
            found |= {root.joinpath(*name.split(".")[2:]).with_suffix(".py") for name in names}
    return frozenset(other for other in found if other.is_file() and other != file)


def _imported(body: list[ast.stmt]) -> Iterator[str]:
    """Top-level names of the packages these statements import whatever happens; of functions, not their insides."""
    for node in body:
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            yield node.module.partition(".")[0]
        elif isinstance(node, ast.With | ast.For | ast.While) or _insists(node):
            yield from _imported(node.body)


def _insists(node: ast.stmt) -> TypeIs[ast.Try]:
    """Whether this is a `try` whose failure is not passed over."""
    return isinstance(node, ast.Try) and (not node.handlers or any(map(_raises, node.handlers)))


def _raises(handler: ast.ExceptHandler) -> bool:
    return any(isinstance(node, ast.Raise) for node in ast.walk(handler))


def _reached(tree: ast.Module, name: str) -> list[Definition]:
    """The definition of this name and of whatever else of the module it mentions."""
    own = {node.name: node for node in tree.body if isinstance(node, Definition)}
    reached: dict[str, Definition] = {}
    waiting = [name]
    while waiting:
        current = waiting.pop()
        if current in own and current not in reached:
            reached[current] = own[current]
            waiting += [node.id for node in ast.walk(own[current]) if isinstance(node, ast.Name)]
    return list(reached.values())


@cache
def _is_here(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False
