"""The report as one HTML page that asks nothing of anybody: its style, script and items are inside it."""

import base64
import hashlib
from importlib.resources import files
from typing import Any

from harness.findings import JUDGED, Report, Table
from harness.pictures.card import card_phrases
from harness.pictures.foremost import foremost_sentence
from harness.pictures.panel import panel_lines
from harness.pictures.report import pick_sentence
from harness.pictures.trajectory import turning_lines
from harness.reporting import evidence, grids, provenance
from harness.reporting.curves import curves_of
from harness.reporting.document import Document
from harness.reporting.embedded import items_json, plain
from harness.reporting.explained import methods_of
from harness.reporting.heat import heat_of
from harness.reporting.limits import limits_of, subtitle
from harness.reporting.overlaps import clean_of, searches_of
from harness.reporting.paths import brief
from harness.reporting.plots import interval_plot

ASSETS = files("harness.reporting") / "assets"


def page_of(document: Document) -> str:
    """The whole page.

    The content security policy allows this style and this script by their hashes, and nothing else: no request, no
    form, no other script, wherever it may come from.
    """
    from jinja2 import Environment, FunctionLoader, StrictUndefined
    from markupsafe import Markup

    def shown(value: Any) -> Any:
        return plain(value) if isinstance(value, str) and not isinstance(value, Markup) else value

    environment = Environment(
        loader=FunctionLoader(_asset),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=shown,
    )
    style, script = _asset("style.css"), _asset("script.js")
    return environment.get_template("report.html.jinja").render(
        **_content(document),
        style=Markup(style),
        style_hash=_hash(style),
        script=Markup(script),
        script_hash=_hash(script),
        items=Markup(items_json(document)),
    )


def _asset(name: str) -> str:
    return (ASSETS / name).read_text("utf-8")


def _hash(text: str) -> str:
    """As a content security policy names what it allows."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _content(document: Document) -> dict[str, Any]:
    """What the template draws."""
    report = document.report
    return {
        "title": document.title,
        "created": provenance.moment(document.created),
        "subtitle": subtitle(report),
        "sentence": pick_sentence(report.pick, report.baseline, report.opinions) if report.pick else "",
        "foremost": foremost_sentence(report),
        "limits": limits_of(report),
        "families": [_family(document, table) for table in report.shown],
        "others": [
            grids.main_grid(table, None)
            for table in report.tables
            if table not in report.shown and not decided(report, table)
        ],
        "curves": curves_of(report),
        "turning": [*turning_lines(report.trajectory, report.losses)] if report.trajectory else [],
        "heats": [heat_of(shown) for shown in report.breakdowns if shown.parts],
        "agreements": evidence.agreements_grid(report.agreements),
        "opinions": report.opinions,
        "opinions_sentences": evidence.opinions_sentences(report.opinions) if report.opinions else [],
        "opinions_grids": evidence.opinions_grids(report.opinions) if report.opinions else [],
        "searches": searches_of(report),
        "clean": clean_of(report),
        "cards": [
            {"judge": card.judge, "phrases": card_phrases(card), "warnings": card.warnings} for card in report.cards
        ],
        "panel": evidence.panel_grid(report.panel) if report.panel else None,
        "panel_lines": panel_lines(report.panel) if report.panel else [],
        "methods": methods_of(document),
        "sources": provenance.sources_of(document),
        "checkpoints": provenance.checkpoints_of(document),
        "versions": document.recorded.versions,
        "begun": provenance.moment(document.recorded.created),
        "run": brief(report.run, report.run) if document.recorded.evaluations else "",
        "places": {found.dataset: n for n, found in enumerate(document.items)},
        "has_items": any(found.items for found in document.items),
    }


def _family(document: Document, table: Table) -> dict[str, Any]:
    report = document.report
    picked = report.pick.name if report.pick and table.kind in JUDGED else None
    behind = document.behind(table)
    headline = report.pick if table is report.headline else None
    deciding = [other for other in report.tables if headline and decided(report, other)]
    return {
        "grid": grids.main_grid(table, picked),
        "against": grids.against_grid(headline, table.decimals) if headline else None,
        "deciding": [grids.deciding_grid(other, picked or "") for other in deciding],
        "more": grids.more_grid(table),
        "pairs": grids.pairs_grid(table),
        "plot": interval_plot(table, grids.caption_of(table), picked),
        "remarks": [*grids.remarks(table)],
        "place": document.items.index(behind) if behind else -1,
    }


def decided(report: Report, table: Table) -> bool:
    """Whether the pick was made on the items of a table, which are not those it is reported on."""
    headline = report.headline
    if headline is None or report.pick is None or report.pick.picked_on == "test" or table.role != "validation":
        return False
    return (table.name, table.kind, table.metric) == (headline.name, headline.kind, headline.metric)
