"""`ift-eval review`: what a person says of the answers."""

import json as to_json
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
        list[str] | None, typer.Argument(metavar="[CKPT...]", help="By name; default: the base and the best.")
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
    try:
        ask(session, screen, key=key, line=line)
    finally:
        _say_done(one, session, screen)
    screen.print_json(to_json.dumps(_counts(one, session), ensure_ascii=False, indent=1))
    return DONE


def _login() -> str:
    from getpass import getuser

    try:
        return getuser()
    except (OSError, KeyError, ImportError):
        raise HarnessError("--rater: wanted a name, found no login; say who you are: --rater ann") from None


def _announce(review: "Review", session: "Session", screen: Screen) -> None:
    material, total = review.material, len(session.questions)
    what = "pairs" if review.keys.pairs else "answers"
    names = ", ".join(material.names[c.slug] for c in material.checkpoints)
    screen.say(f"{total} {what} to {review.items} of {len(material.items)} items of {material.dataset}: {names}")
    if review.n > len(material.items):
        screen.say(f"--n {review.n}: there are {len(material.items)} items, all are taken")
    silent = review.items * len(review.sides) - total
    if silent:
        screen.say(f"{silent} {what} are left out: no answer came")
    if review.keys.remark:
        screen.say(review.keys.remark)
    if session.labelled:
        screen.say(f"{review.rater} has done {session.labelled} of {total} before")


def _say_done(review: "Review", session: "Session", screen: Screen) -> None:
    from harness.review.labels import labels_path

    total, left = len(session.questions), len(session.questions) - session.labelled
    folder = review.run.folder
    on = f"--run {folder}"
    again = f"; the same command goes on with the other {left}" if left else ""
    screen.say(f"{session.labelled} of {total} done as {review.rater}, in {labels_path(review.run)}{again}")
    if session.labelled:
        validate = f" · ift-eval validate --labels {labels_path(review.run)} {on} --judge J"
        screen.say(f"next: ift-eval compare {on}{'' if review.keys.pairs else validate}")


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
