"""The sections of the page, in their order. A new one is a template in `page/sections` and a line in `SECTIONS`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup

from lmeff.analysis.charts.figures import drawn_paradigms
from lmeff.analysis.charts.points import has_pairs
from lmeff.analysis.charts.series import Series, all_runs
from lmeff.analysis.charts.study import Study
from lmeff.analysis.one_table.cells import missing_cells
from lmeff.analysis.reading.tasks import paradigms_of
from lmeff.analysis.report.cautions import LOOKED_FOR, cautions
from lmeff.analysis.report.costs import cost_table
from lmeff.analysis.report.filters import Filters, filters_of
from lmeff.analysis.report.provenance import model_hashes, provenance_table
from lmeff.analysis.report.views import ParadigmTable, RunView, SeedView, paradigm_tables
from lmeff.analysis.statistics.acquisition import ACQUIRED
from lmeff.analysis.statistics.changes import NUM_RESAMPLES

MOST_HASHED = 10
"""Runs of which the hashes of all revisions are listed; of more their folders have them."""
SEEDS_WORDS = "It does not say how other seeds would come out."


@dataclass(frozen=True)
class PageContent:
    """What is shown, for every section to take its part of."""

    study: Study
    figures: Mapping[str, dict]
    """Vega-Lite specifications by name."""
    image: str | None
    """The main figure as a PNG in base64, for readers without JavaScript."""

    @property
    def series(self) -> Sequence[Series]:
        return self.study.series

    @cached_property
    def views(self) -> list[RunView]:
        """Every run with its name on the page: the series' label, and the seed where the series has several."""
        named = [
            (run, each.label if len(each.runs) == 1 else f"{each.label.partition(', seeds')[0]}, seed {run.seed}")
            for each in self.series
            for run in each.runs
        ]
        return [RunView(run, label, number) for number, (run, label) in enumerate(named)]

    @cached_property
    def filters(self) -> Filters:
        return filters_of(self.study, self.views, [each.label for each in self.series for _ in each.runs])

    @cached_property
    def numbers(self) -> dict[str, str]:
        """The places among the runs of the page that the runs of each series have, `0 1 2`, for `data-runs`."""
        places: dict[str, list[str]] = {}
        for number, run in enumerate(self.filters.data["runs"]):
            places.setdefault(run["series"], []).append(str(number))
        return {label: " ".join(of_series) for label, of_series in places.items()}

    @cached_property
    def seed_views(self) -> list[SeedView]:
        return [SeedView(each) for each in self.series if len(each.runs) > 1]

    @cached_property
    def cautions(self) -> list[str]:
        return cautions(self.study, self.views, self.table, self.missing)

    @cached_property
    def table(self) -> pd.DataFrame:
        """The tidy table of all runs."""
        return pd.concat([each.table for each in self.series], ignore_index=True)

    @cached_property
    def missing(self) -> pd.DataFrame:
        """Values that are not there although other runs have them."""
        return missing_cells(self.table)

    @property
    def hashes(self) -> list[tuple[str, str]]:
        """Of the weights of every revision, where that makes no long list."""
        if len(self.views) > MOST_HASHED:
            return []
        before = {view.label: f"{view.label}, " if len(self.views) > 1 else "" for view in self.views}
        return [(before[view.label] + name, sha256) for view in self.views for name, sha256 in model_hashes(view.run)]

    @cached_property
    def tables(self) -> list[ParadigmTable]:
        return paradigm_tables(self.series)

    @property
    def values(self) -> dict[str, Any]:
        """What every template may name."""
        return {
            "views": self.views,
            "single": len(self.views) == 1,
            "seed_views": self.seed_views,
            "tables": self.tables,
            "figures": self.figures,
            "prediction": self.study.prediction,
            "seeds_words": SEEDS_WORDS,
            "cautions": self.cautions,
            "filters": self.filters,
            "numbers": self.numbers,
            "paired": has_pairs(self.series, paradigms_of(all_runs(self.series))),
        }


@dataclass(frozen=True)
class ReportSection:
    """A section of the page. Its template writes nothing where there is nothing to show."""

    name: str
    """Of its template."""
    own_values: Callable[[PageContent], dict[str, Any]] = lambda content: {}
    """What its template names beside `PageContent.values`."""

    def render(self, environment: jinja2.Environment, content: PageContent) -> Markup:
        template = environment.get_template(f"sections/{self.name}.html.in")
        return Markup(template.render(content.values | self.own_values(content)))


def _figures(heading: str, **captions: str) -> ReportSection:
    """A section of figures, each with its caption."""
    values = {"heading": heading, "shown": list(captions), "captions": list(captions.values())}
    return ReportSection("figures", lambda content: values)


SECTIONS = (
    ReportSection("cautions"),
    ReportSection("learning_curves", lambda content: {"image": content.image, "num_resamples": NUM_RESAMPLES}),
    _figures("By corpus and size", grid="A panel for each corpus and size, a line for each vocabulary."),
    ReportSection("early"),
    ReportSection("over_seeds"),
    ReportSection("anchors"),
    ReportSection("phenomena"),
    ReportSection(
        "paradigms",
        lambda content: {"drawn": drawn_paradigms(content.series), "acquired": round(100 * ACQUIRED)},
    ),
    _figures(
        "Settings",
        sweep="Recipes at the last anchor that all of them have; joined are those that differ in nothing else.",
    ),
    _figures(
        "Spread",
        paradigm_boxes="How much the paradigms of one model differ.",
        seed_boxes="How much the seeds of one recipe differ.",
    ),
    _figures(
        "Quality and cost",
        trade_offs="Every point is a saved model. FLOPs are those of training, with teachers and scoring of text.",
    ),
    ReportSection("weights", lambda content: {"series_by_kind": len(content.series) == 1}),
    _figures(
        "How training went",
        training="From the logs, thinned by averaging.",
        losses="How losses are spread over steps and over sentences.",
        lengths="How long the documents are that training reads, of the prepared tokens beside the runs.",
    ),
    ReportSection("costs", lambda content: {"costs": cost_table(content.views)}),
    ReportSection("runs"),
    ReportSection(
        "provenance",
        lambda content: {
            "provenance": provenance_table(content.views),
            "hashes": content.hashes,
            "read": content.study.notes,
            "looked_for": LOOKED_FOR,
        },
    ),
)
