"""What makes a judge's scores of several checkpoints doubtful, in a sentence each."""

from collections.abc import Mapping, Sequence
from itertools import combinations

from harness.cards.kinship import same_family, same_model
from harness.stats.counts import fisher_p
from harness.stats.multiplicity import holm

LEVEL = 0.05  # below which a difference in failures is said


def uneven(failed: Mapping[str, tuple[int, int]]) -> list[str]:
    """Failures that come more often with one checkpoint: what is missing is then not missing by chance.

    Fisher's exact test for every two checkpoints, Holm over them.

    Args:
        failed: By checkpoint, answers without a score, and answers.
    """
    pairs = list(combinations(failed.items(), 2))
    p_values = holm([fisher_p(a, n - a, b, m - b) for (_, (a, n)), (_, (b, m)) in pairs])
    unlike = sorted((p, number) for number, p in enumerate(p_values) if p < LEVEL)
    if not unlike:
        return []
    (one, (a, n)), (other, (b, m)) = sorted(pairs[unlike[0][1]], key=lambda named: -named[1][0] / named[1][1])
    more = f"; {len(unlike) - 1} more of the pairs differ" if len(unlike) > 1 else ""
    return [f"failed more often on {one} ({a} of {n}) than on {other} ({b} of {m}): see the bounds{more}"]


def related(judge: str, names: Sequence[str], bases: Mapping[str, Sequence[str]]) -> list[str]:
    """A judge of the same family as what it judges.

    Args:
        judge: Its name.
        names: Of the checkpoints.
        bases: What else each of them and its base are called.
    """
    itself = [name for name in names if any(same_model(judge, called) for called in bases.get(name, []))]
    if itself:
        return [f"judges itself: it is {', '.join(itself)}; a judge favours its own"]
    kin: dict[str, list[str]] = {}
    for name in names:
        family = same_family(judge, [name, *bases.get(name, [])])
        if family:
            kin.setdefault(family, []).append(name)
    return [
        f"same family ({family}) as {'every checkpoint' if len(own) == len(names) > 1 else ', '.join(own)}: "
        "a judge may favour its own"
        for family, own in kin.items()
    ]
