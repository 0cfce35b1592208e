"""The README is true: its commands parse, its tree exists and is complete, its picture is what the demo prints."""

import re
import shlex
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup

from harness.cli import app
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text("utf-8")
COMMANDS = re.findall(r"^\$ (.+)$", README, re.MULTILINE)
PACKAGES = ("harness", "finetune", "judges", "benchmarks")


@pytest.mark.parametrize("line", [c for c in COMMANDS if c.startswith("ift-eval")])
def test_commands_parse(line: str) -> None:
    _, name, *arguments = shlex.split(line)
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    command = group.commands[name]
    with command.make_context(name, arguments) as context:
        assert context.params


def test_make_targets_exist() -> None:
    made = (ROOT / "Makefile").read_text("utf-8")
    targets = {c.split()[1] for c in COMMANDS if c.startswith("make")}
    assert targets >= {"demo", "test"}
    assert all(f"\n{target}:" in made for target in targets)


def tree() -> dict[str, set[str]]:
    """Files named under each package in the tree."""
    block = README.split("## The tree")[1].split("```")[1]
    named: dict[str, set[str]] = {}
    package = ""
    for line in block.splitlines():
        if match := re.match(r"(\w+)/ ", line):
            package = match[1]
        named.setdefault(package, set()).update(re.findall(r"[\w]+\.py|(?<=^  )\w+/", line))
    return named


@pytest.mark.parametrize("package", PACKAGES)
def test_tree_is_complete_and_exists(package: str) -> None:
    named = tree()[package]
    there = {p.name for p in (ROOT / package).glob("*.py")} - {"__init__.py", "__main__.py", "errors.py", "fields.py"}
    there |= {
        f"{p.name}/" for p in (ROOT / package).iterdir() if p.is_dir() and p.name not in ("__pycache__", "rubrics")
    }
    assert named == there


def test_it_starts_with_a_sentence_a_command_and_the_table_it_prints() -> None:
    title, sentence, command, picture, *_ = re.split(r"\n\n+", README)
    assert title == "# ift-eval"
    assert sentence.count("\n") == 0
    assert "make demo" in command
    for part in ("PICK epoch-", "vs base", "p adj"):
        assert part in README.split("## Install")[0], (part, picture)


def test_nothing_names_a_place_on_somebodys_machine() -> None:
    for path in [*ROOT.glob("*.*"), *(p for name in PACKAGES for p in (ROOT / name).rglob("*.py"))]:
        if path.is_file() and path.suffix in (".py", ".md", ".toml", ".yaml", ".txt"):
            assert not re.search(r"/(home|root|work)/\w", path.read_text("utf-8")), path


def test_the_licence_is_there() -> None:
    assert Path(ROOT / "LICENSE").read_text("utf-8").startswith("MIT License")
