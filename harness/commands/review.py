"""`ift-eval review`: what a person says of the answers."""

import json as to_json
import sys
from collections.abc import Iterator
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from harness.commands import options
from harness.commands.showing import DONE
from harness.errors import HarnessError
from harness.screen import Screen

if TYPE_CHECKING:
    from harness.review.asking import Review
    from harness.review.session import Session


def review(
    checkpoints: Annotated[
        list[str] | None, typer.Argument(metavar="[CKPT...]", help="By name; default: the base and the pick.")
    ] = None,
    n: Annotated[int, typer.Option("--n", min=1, help="Items to draw; each checkpoint's answers to them.")] = 50,
    pairs: Annotated[bool, typer.Option("--pairs", help="Which of two answers is better, each against the base.")] = (
        False
    ),
    rater: Annotated[str | None, typer.Option(metavar="NAME", help="Who you are; default: your login.")] = None,
    scale: Annotated[
        str | None, typer.Option(metavar="1-5", help="Of your scores; default: the judge's, if it has ten values.")
    ] = None,
    dataset: Annotated[str | None, typer.Option(help="Name of a data set; default: the newest test set.")] = None,
    judge: Annotated[str | None, typer.Option(help="Whose scores the sample is drawn by; default: the newest.")] = None,
    seed: options.Seed = 0,
    run_folder: options.RunFolder = options.DEFAULT_RUN,
    json: options.Json = False,
    quiet: options.Quiet = False,
    config: options.Config = None,
) -> int:
    """Rate answers yourself, one key each, blind to whose they are; `compare` then corrects the judge by it."""
    from harness.review.asking import Review
    from harness.review.keys import keys_for
    from harness.review.labels import rater_name
    from harness.review.material import Wanted, material_of, sample_of
    from harness.review.terminal import readers
    from harness.review.terminal import review as ask
    from harness.store import Run

    screen, run = Screen(json=json, quiet=quiet), Run(run_folder)
    who = rater_name(rater if rater is not None else _login())
    material = material_of(run, Wanted(checkpoints=[*(checkpoints or [])], dataset=dataset, judge=judge))
    keys = keys_for(scale, material.scale, pairs=pairs)
    one = Review(run, material, sample_of(run, material, n=n, seed=seed), n, who, keys)
    session = one.begin()
    _announce(one, session, screen)
    key, line = readers()
    waiting, read = session.current is not None, 0
    try:
        read = ask(session, screen, key=key, line=line)
    finally:
        _say_done(one, session, screen)
    screen.print_json(to_json.dumps(_counts(one, session), ensure_ascii=False, indent=1))
    if waiting and not read and not sys.stdin.isatty():
        raise HarnessError("nothing was read: standard input is empty; run it at a terminal, or hand in a key a line")
    return DONE


def _login() -> str:
    from getpass import getuser

    try:
        return getuser()
    except (OSError, KeyError, ImportError):
        raise HarnessError("--rater: wanted a name, found no login; say who you are: --rater ann") from None


def _announce(review: "Review", session: "Session", screen: Screen) -> None:
    material, total, sides = review.material, len(session.questions), len(review.sides)
    names = [material.names[c.slug] for c in material.checkpoints]
    what, one = ("pairs", "pair") if review.keys.pairs else ("answers", "checkpoint")
    whose = f"{', '.join(names[1:])} against {names[0]}" if review.keys.pairs else ", ".join(names)
    of = f"{review.items} of {len(material.items)} items of {material.dataset}"
    screen.say(f"{of} x {sides} {one}{_s(sides)}: {total} {what}")
    screen.say(f"{one}{_s(sides)}: {whose}")
    if review.n > len(material.items):
        screen.say(f"--n {review.n}: there are {len(material.items)} items, all are taken")
    silent = review.items * sides - total
    if silent:
        screen.say(f"{silent} {what} are left out: no answer came")
    if review.keys.remark:
        screen.say(review.keys.remark)
    if session.labelled:
        screen.say(f"{review.rater} has done {session.labelled} of {total} before")


def _s(n: int) -> str:
    return "" if n == 1 else "s"


def _say_done(review: "Review", session: "Session", screen: Screen) -> None:
    """What is done, what it is good for so far, and what to do next; each command has a line, to be copied."""
    from harness.review.labels import labels_path

    total, left = len(session.questions), len(session.questions) - session.labelled
    again = f"; the same command goes on with the other {left}" if left else ""
    screen.say(
        f"{session.labelled} of {total} {'pairs' if review.keys.pairs else 'answers'} done as {review.rater}{again}"
    )
    if session.unkept:
        screen.warn(f"{session.unkept} note{_s(session.unkept)} not kept: a note is kept with an answer")
    if not session.labelled:
        return
    for line in _reached(review, review.items_done(session)):
        screen.say(line)
    labels, on = quote(str(labels_path(review.run))), f"--run {quote(str(review.run.folder))}"
    screen.say(f"labels: {labels}")
    screen.say(f"next: ift-eval compare {on}")
    if not review.keys.pairs:
        screen.say(f"      ift-eval validate --labels {labels} {on} --judge J")


def _reached(review: "Review", done: int) -> Iterator[str]:
    """How far these items are from what `compare` goes by."""
    from harness.opinions.lines import ENOUGH_TO_CORRECT, ENOUGH_TO_LEAD

    there, corrected = len(review.material.items), f"by the corrected judge from {ENOUGH_TO_CORRECT}"
    people = f"by people from {ENOUGH_TO_LEAD}, " if done < ENOUGH_TO_LEAD else ""
    items = f"{done} item{_s(done)} done"
    if done >= ENOUGH_TO_CORRECT:
        yield f"{items}: enough for `compare` to correct the judge, where people agree with it"
        return
    yield f"{items}; `compare` goes {people}{corrected}"
    if review.items < min(ENOUGH_TO_CORRECT, there):
        yield f"--n {ENOUGH_TO_CORRECT} goes on with more items"
    elif there < ENOUGH_TO_CORRECT:
        yield f"there are only {there} items"


def _counts(review: "Review", session: "Session") -> dict[str, object]:
    material, total = review.material, len(session.questions)
    return {
        "run": str(review.run.folder),
        "dataset": material.dataset,
        "checkpoints": [material.names[c.slug] for c in material.checkpoints],
        "rater": review.rater,
        "pairs": review.keys.pairs,
        "scale": review.keys.scale,
        "sample": review.sample.key,
        "seed": review.sample.seed,
        "items": review.items,
        "questions": total,
        "labelled": session.labelled,
        "skipped": session.skipped,
        "left": total - session.labelled,
    }
