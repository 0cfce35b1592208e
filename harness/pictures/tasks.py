"""The list of benchmarks: what `ift-eval tasks` prints."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from harness.pictures.fitting import WIDTH

if TYPE_CHECKING:
    from benchmarks.index.needs import Needs

_NAME, _ANSWER = 36, 9  # widths


@dataclass(frozen=True)
class Listed:
    """One name in the list.

    Attributes:
        name: What to type.
        kind: task, group, tag, or preset.
        needs: What it takes.
        says: What a preset means.
    """

    name: str
    kind: str
    needs: "Needs"
    says: str = ""

    def as_json(self) -> dict[str, Any]:
        """Everything known of it."""
        return {"name": self.name, "kind": self.kind, **asdict(self.needs), "says": self.says}


def listed(pattern: str | None, manager: Any = None, *, building: Callable[[], None] = lambda: None) -> list[Listed]:
    """Presets first, then lm-eval's names, of those that match.

    Args:
        pattern: Part of a name, or a glob for the whole of it; all names when None.
        manager: lm-eval's index; read when not given.
        building: Called where that takes long.

    Raises:
        BenchmarkError: If there are none, with the nearest names.
    """
    from benchmarks.errors import unknown_name
    from benchmarks.index.catalog import list_tasks, matching, task_manager
    from benchmarks.index.needs import needs_of, needs_together
    from benchmarks.index.task_presets import PRESETS

    manager = manager or task_manager(building=building)
    presets = [name for name in PRESETS if pattern is None or matching(pattern, [name])]
    found = [Listed(n, "preset", needs_together(PRESETS[n].tasks, manager), PRESETS[n].says) for n in presets]
    # A preset that is one task of the same name is that task.
    same = {name for name in presets if PRESETS[name].tasks == (name,)}
    tasks = [task for task in list_tasks(pattern, manager) if task.name not in same]
    found += [Listed(task.name, task.kind, needs_of(task.name, manager)) for task in tasks]
    if not found:
        raise unknown_name("task", str(pattern), {*PRESETS, *manager.task_index}, see="`ift-eval tasks` lists them all")
    return found


def lines(found: Sequence[Listed]) -> Iterator[str]:
    """The list in 80 columns: name, how it is answered, the data set; below it what else it needs."""
    for one in found:
        yield from _lines(one)


def _lines(one: Listed) -> Iterator[str]:
    needs = one.needs
    name = one.name if one.kind in ("task", "preset") else f"{one.name} ({needs.n_tasks})"
    if len(name) >= _NAME:
        yield name
        name = ""
    answers = needs.answers[0] if len(needs.answers) == 1 else "mixed"
    paths = sorted({data_set.partition(" ")[0] for data_set in needs.data_sets})
    several = needs.data_sets if len(needs.data_sets) == 1 else paths
    data = several[0] if len(several) == 1 else f"{len(paths)} data sets" if paths else ""
    row = f"{name:{_NAME}} {answers:{_ANSWER}} {data}".rstrip()
    yield row if len(row) <= WIDTH else row[: WIDTH - 1] + "…"
    for remark in [*([one.says] if one.says else []), *needs.remarks]:
        yield from _folded(remark)


def _folded(remark: str) -> Iterator[str]:
    from textwrap import wrap

    yield from wrap(remark, WIDTH, initial_indent="    ", subsequent_indent="    ")
