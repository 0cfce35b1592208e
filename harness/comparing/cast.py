"""Who is compared: checkpoints of the run, recipes, results made elsewhere; and with whom."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from harness.comparing.baseline import baseline_in, usual_baseline
from harness.comparing.recipes import Recipes, recipe_slug
from harness.comparing.scores import Family
from harness.errors import HarnessError, unknown_name
from harness.naming import as_recorded, choose_checkpoints
from harness.records import CheckpointRecord
from harness.store import RunFile


@dataclass(frozen=True)
class Cast:
    """Who is compared.

    Attributes:
        checkpoints: Of the run, in training order.
        imported: Results made elsewhere, of those who are to be shown.
        baseline: Slug of the one the others are compared with.
    """

    checkpoints: list[CheckpointRecord]
    imported: list[Family]
    baseline: str


def cast_of(
    recorded: RunFile, wanted: Sequence[str], baseline: str | None, recipes: Recipes, imported: Sequence[Family]
) -> Cast:
    """Those wanted, with all of the recipes' checkpoints and the baseline; everybody when nobody is named.

    Raises:
        HarnessError: If a name is unknown, or the baseline's stands for several.
    """
    strangers = _strangers(recorded, imported)
    named = [strangers[text].slug for text in wanted if text in strangers]
    own = [name for text in wanted if text not in strangers for name in as_recorded(recorded, text)]
    if own:
        own += [member.slug for members in recipes.values() for member in members]
    slug = _slug_of(baseline, recorded, recipes, strangers)
    if wanted and slug is not None:
        named += [slug]
        own += [slug] if slug in recorded.checkpoints else []
    checkpoints = [] if wanted and not own else choose_checkpoints(recorded, own)
    there = {c.slug for c in checkpoints} | set(named)
    shown = [_only(family, there) for family in imported] if wanted else [*imported]
    shown = [family for family in shown if family.scores]
    everybody = checkpoints + [s.checkpoint for family in shown for s in family.scores]
    usual = usual_baseline(everybody).slug if everybody else ""
    return Cast(checkpoints, shown, slug or usual)


def _strangers(recorded: RunFile, imported: Sequence[Family]) -> dict[str, CheckpointRecord]:
    """Those of whom only results made elsewhere are known, by name."""
    everybody = (s.checkpoint for family in imported for s in family.scores)
    return {c.name: c for c in everybody if c.slug not in recorded.checkpoints}


def _slug_of(
    baseline: str | None, recorded: RunFile, recipes: Recipes, strangers: Mapping[str, CheckpointRecord]
) -> str | None:
    if not baseline:
        return None
    if baseline in recipes:
        return recipe_slug(baseline)
    within = next((name for name, members in recipes.items() for m in members if baseline in (m.name, m.slug)), None)
    if within:
        raise HarnessError(f"--baseline {baseline} is a seed of {within}; compare with the recipe: --baseline {within}")
    if baseline in strangers:
        return strangers[baseline].slug
    if not recorded.checkpoints and strangers:
        raise unknown_name("baseline", baseline, strangers)
    return baseline_in(recorded, baseline).slug if recorded.checkpoints else None


def _only(family: Family, slugs: set[str]) -> Family:
    return replace(family, scores=[s for s in family.scores if s.checkpoint.slug in slugs])
