"""`ift-eval data`: what is in a data set."""

import json as json_module
from typing import TYPE_CHECKING, Annotated

import typer

from finetune.instructions import Entry
from finetune.splits import Splits
from harness.commands import options
from harness.errors import HarnessError
from harness.screen import Screen

if TYPE_CHECKING:
    from finetune.survey.survey import Survey


def data(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Entries: a file, a folder, or hf:ORG/NAME.")],
    test: Annotated[str | None, typer.Option(help="Test entries of their own.")] = None,
    val: Annotated[str | None, typer.Option(help="Validation entries of their own.")] = None,
    style: Annotated[str, typer.Option(help="Prompt style: alpaca, phi3, chatml, llama3 or chat.")] = "alpaca",
    base: Annotated[
        str | None, typer.Option(help="Whose tokens to count; default: GPT-2's, else the embedded base's.")
    ] = None,
    max_length: Annotated[int | None, typer.Option(min=2, help="Tokens that fit; default: the base's context.")] = None,
    mask_prompt: Annotated[bool, typer.Option(help="Learn the answers only.")] = True,
    shuffle: Annotated[bool, typer.Option(help="Split at random, as finetune does; else by file order.")] = True,
    seed: Annotated[int, typer.Option(help="Of that split.")] = 0,
    entry: Annotated[str | None, typer.Option(metavar="ID|N", help="Entry to show; N counts from 0.")] = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    full: options.Full = False,
    config: options.Config = None,
) -> int:
    """What is in a data set: counts, token lengths, repeats, leaks, suspicious entries, one entry as the model sees it.

    Exit code 1 if test or validation questions stand among the training entries (but for case and punctuation),
    or one question has several different answers; anything else is a remark.
    """
    from harness.pictures.data import picture

    screen = Screen(json=json, quiet=quiet)
    found = look_through(
        file,
        screen,
        test=test,
        val=val,
        style=style,
        base=base,
        max_length=max_length,
        mask_prompt=mask_prompt,
        shuffle=shuffle,
        seed=seed,
        entry=entry,
    )
    console = screen.err if json else screen.out
    coloured = console.is_terminal and console.color_system is not None and not console.no_color
    screen.show(picture(found, full=full, coloured=coloured))
    # Not pydantic's own JSON, which has no room for half characters of ugly data.
    screen.print_json(json_module.dumps(found.model_dump(), ensure_ascii=False, indent=1))
    return 1 if found.worth_knowing else 0


def look_through(
    file: str,
    screen: Screen,
    *,
    test: str | None,
    val: str | None,
    style: str,
    base: str | None,
    max_length: int | None,
    mask_prompt: bool,
    shuffle: bool,
    seed: int,
    entry: str | None,
) -> "Survey":
    """Read the files and look through them; the arguments are the command's flags.

    Raises:
        FinetuneError: If a file, the style or the entry cannot be used.
        HarnessError: If the base cannot be found, or the file holds no entries.
    """
    from finetune.instructions import read_entries
    from finetune.styles import check_style, style_named
    from finetune.survey.survey import Reading, survey
    from harness.base_reading import read_base

    check_style(style)
    entries = read_entries(file)
    if not entries:
        raise HarnessError(f"{file} holds no entries; wanted at least one")
    others = {"test": read_entries(test) if test else [], "validation": read_entries(val) if val else []}
    splits = sides_of(entries, test=test is not None, validation=val is not None, shuffle=shuffle, seed=seed)
    read = read_base(base)
    if read.note:
        screen.say(read.note)
    reading = Reading(
        read.tokenizer,
        style_named(style, read.tokenizer),
        min(max_length or read.context, read.context),  # as finetune has it
        "answers" if mask_prompt else "all",
    )
    return survey(file, entries, reading, splits=splits, others=others, entry=entry)


def sides_of(entries: list[Entry], *, test: bool, validation: bool, shuffle: bool, seed: int) -> Splits | None:
    """The sides on which `make_splits` puts entries when there are such files beside them; None for one side."""
    from finetune.splits import TEST_SHARE, TRAIN_SHARE, split

    if validation:
        return None
    if test:
        return split(entries, shuffle=shuffle, seed=seed, train_share=TRAIN_SHARE + TEST_SHARE, test_share=0)
    return split(entries, shuffle=shuffle, seed=seed)
