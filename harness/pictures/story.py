"""One item's answers from the base to the last checkpoint, so that an improvement can be read, not only counted."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from rich.table import Table as RichTable
from rich.text import Text

from finetune.instructions import Entry, read_entries
from harness.comparing.scores import judge_folder
from harness.findings import Report
from harness.naming import choose_checkpoints, display_names
from harness.records import CheckpointRecord, Evaluation, Response, Verdict
from harness.store import Run


@dataclass(frozen=True)
class Told:
    """An answer, by whom, and what the judge gave it."""

    name: str
    answer: str
    score: float


@dataclass(frozen=True)
class Story:
    """An entry and how the checkpoints answered it, in training order."""

    entry: Entry
    told: list[Told]

    @property
    def gain(self) -> float:
        """How much is to be seen: the rise from first to last, and the steps on the way."""
        scores = [t.score for t in self.told]
        rises = sum(later > earlier for earlier, later in itertools.pairwise(scores))
        return scores[-1] - scores[0] + 10 * rises + 5 * len({t.answer for t in self.told})


def best_story(run: Run, report: Report) -> Story | None:
    """The judged test item on which most is to be seen; None when there is none that all answered."""
    table = report.headline
    if table is None:
        return None
    shown = {row.summary.checkpoint for row in table.rows}
    recorded = run.read()
    known = choose_checkpoints(recorded, ())
    names = display_names(known)
    columns = []
    for checkpoint in known:
        if names[checkpoint.slug] not in shown:
            continue
        judged = [e for e in recorded.evaluations if _is_of(e, checkpoint, table.dataset, table.name)]
        columns.append(_told(run, judged[-1], names[checkpoint.slug]))
    entries = {e.item_id: e for e in read_entries(run.data_file(table.dataset))}
    shared = [item for item in entries if all(item in column for column in columns)]
    stories = [Story(entries[item], [column[item] for column in columns]) for item in shared]
    return max(stories, key=lambda story: story.gain, default=None)


def _is_of(evaluation: Evaluation, checkpoint: CheckpointRecord, dataset: str, table: str) -> bool:
    same = (evaluation.checkpoint, evaluation.dataset) == (checkpoint.slug, dataset)
    return evaluation.stage == "judge" and same and table == f"judge {evaluation.judge}"


def _told(run: Run, judged: Evaluation, name: str) -> dict[str, Told]:
    """By item: the first sample's answer with its score."""
    assert judged.judge is not None
    folder = judge_folder(judged.judge)
    verdicts = run.records(Verdict, "verdicts", judged.dataset, folder, judged.checkpoint).read()
    responses = run.records(Response, "responses", judged.dataset, judged.checkpoint).read()
    found = {}
    for item, keys in judged.records.items():
        verdict = verdicts.get(keys[0]) if keys else None
        response = responses.get(verdict.response) if verdict else None
        if verdict and verdict.score is not None and response and response.text is not None:
            found[item] = Told(name, response.text, verdict.score)
    return found


def story_lines(story: Story) -> Iterator[Text | RichTable]:
    """The question, the expected answer, and everybody's."""
    yield Text(f' "{_one_line(story.entry.question, 70)}"  expected: "{_one_line(story.entry.output, 40)}"')
    made = RichTable(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for told in story.told:
        made.add_row(Text(f"   {told.name}"), Text(f"{told.score:.0f}"), Text(f'"{_one_line(told.answer, 50)}"'))
    yield made


def _one_line(text: str, most: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1] + "…"
