"""What the report shows of a curation: every row, step by step, and what was asked of teachers and judges."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt

from branchmerge.api.errors import InputError
from branchmerge.core.model import Stage
from branchmerge_trainer.curate.funnel import FUNNEL_FILE
from branchmerge_trainer.report import page as pages
from branchmerge_trainer.report.curation import CurationRecord, PassRates, read_curation
from branchmerge_trainer.report.plots.columns import columns as drawn_columns
from branchmerge_trainer.report.plots.waterfall import visible, waterfall
from branchmerge_trainer.report.rows.passrates import columns
from reporting import FinishedJob, Page

HOSTILE = [
    "<script>alert(1)</script>",
    "</td></tr></table></details></section><h1>owned</h1>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "{{ 7 * 7 }}{% raw %}",
    "<!-- ",
    "]]><svg/onload=alert(1)>",
    "**bold** [click](javascript:alert(1)) ![see](http://evil/x.png) | `code` ~~gone~~",
    "x |\n|---|\n# heading\n\n<b>",
    "\\| \\` \\[a\\](b)",
    "\u202eesrever\u2028next\x00\x1b[31m",
]
"""Texts that a row, or a model, may hold."""
Funnel = dict[str, Any]


def step(
    name: str, came: int, left: int, *, added: int = 0, dropped: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    return {"name": name, "in": came, "added": added, "out": left, "dropped": dropped or {}}


def asked(text: str = "r1", **more: Any) -> dict[str, Any]:
    said = {"who": "teacher", "model": text, "answers": 300, "promptTokens": 4_000, "completionTokens": 50_000}
    return {**said, "cost": "1.2345", "currency": "USD", **more}


def taught(reason: str = "wrong answer", text: str = "why", model: str = "r1") -> Funnel:
    """100 prompts, 300 answers, of which 87 are kept."""
    example = {"source": 0, "row": 7, "sample": 2, "prompt": text, "answer": text, "detail": text}
    wrong = {reason: {"rows": 120, "examples": [example] * 3}}
    return {
        "steps": [
            step("read", 100, 100),
            step("ask the teacher", 100, 300, added=200),
            step("verify", 300, 180, dropped=wrong),
            step("select", 180, 90, dropped={"another answer was kept": {"rows": 90, "examples": [example]}}),
            step("cap and order", 90, 90),
        ],
        "passRates": {"prompts": 100, "mean": 0.6, "histogram": [[0, 3, 30], [2, 3, 30], [3, 3, 40]]},
        "asked": [asked(model)],
    }


def complete() -> Funnel:
    """100 complete rows without a filter."""
    unusable = {"empty": {"rows": 10, "examples": [{"source": 0, "row": 3, "sample": 0}]}}
    return {
        "steps": [step("read", 100, 90, dropped=unusable), step("cap and order", 90, 90)],
        "passRates": None,
        "asked": [],
    }


@dataclass
class CuratedJob(FinishedJob):
    """A job whose curations tell of their rows."""

    funnels: Mapping[str, Funnel] = field(default_factory=dict)
    """Branch -> its `funnel.json`."""

    def _curate(self, stage: Stage, folder: Path) -> dict[str, Any]:
        written = self.funnels.get(stage.name.removeprefix("curate/"))
        if written is not None:
            (folder / FUNNEL_FILE).write_text(json.dumps(written))
        return super()._curate(stage, folder)


def page_of(job: FinishedJob) -> Page:
    job.write_report()
    return Page(job.read("report.html"))


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> CuratedJob:
    judge = asked("judge-8b", who="judge", answers=300, cost="0.0004", currency="EUR")
    funnels = {"math": {**taught(), "asked": [asked(), judge]}, "coding": taught(), "science": complete()}
    job = CuratedJob(tmp_path_factory.mktemp("job"), funnels=funnels)
    job.write_report()
    return job


@pytest.fixture(scope="module")
def page(job: CuratedJob) -> Page:
    return Page(job.read("report.html"))


def rows(page: Page, class_: str) -> list[list[str]]:
    """The words of each row of the first table of this class."""
    table = page.all("table", class_=class_)[0]
    cells = [each for each in page.elements if each.tag in ("th", "td") and table in ancestors(each)]
    lines = dict.fromkeys(id(each.parent) for each in cells)
    return [[" ".join(cell.text.split()) for cell in cells if id(cell.parent) == line] for line in lines]


def ancestors(element: Any) -> list[Any]:
    above = element.parent
    return [] if above is None else [above, *ancestors(above)]


def test_every_step_has_a_row_of_the_table_and_a_bar(page: Page) -> None:
    assert rows(page, "funnel") == [
        ["step", "what became of its rows", "in", "added", "out"],
        ["read", "", "100", "–", "100"],
        ["ask the teacher", "", "100", "+200", "300"],
        ["verify", "120 wrong answer", "300", "–", "180"],
        ["select", "90 another answer was kept", "180", "–", "90"],
        ["cap and order", "", "90", "–", "90"],
        ["train", "3 overlong · 2 truncated · packed into 40 sequences", "90", "–", "87"],
    ]
    assert len(page.all("svg", class_="waterfall")) == 2 * 6


def test_a_reason_has_the_same_colour_in_bar_and_words_of_every_branch(page: Page) -> None:
    [first, second] = [
        [rect.attributes["class"] for rect in page.all("rect") if table in ancestors(rect)]
        for table in page.all("table", class_="funnel")
    ]
    assert first == second
    assert [each for each in first if each.startswith("series")] == ["series-1", "series-2", "series-3"]
    keys = [each.attributes["class"] for each in page.all("i", class_="key") if each.within("tbody")]
    assert keys[:2] == ["key series-1", "key series-2"]


def test_complete_rows_without_filters_stay_one_line(page: Page) -> None:
    assert [
        each.text.split()[0] for each in page.all("summary") if each.parent in page.all("details", class_="branch")
    ] == [
        "math",
        "coding",
    ]
    [line] = [row for row in rows(page, "rows") if row[0] == "science"]
    assert line[1].startswith("10 empty (read), 3 overlong (train) · 2 truncated")
    assert line[2] == "87 of 100"


def test_pass_rates_are_drawn_and_told(page: Page) -> None:
    figure = page.all("svg", class_="columns")[0]
    assert figure.attributes["aria-label"] == "Prompts by right answers: 0: 30, 1: 0, 2: 30, 3: 40"
    assert figure.text.split() == ["30%", "0", "0%", "1", "30%", "2", "40%", "3"]
    assert "how many of their 3 answers were right: 60.0% in the mean of 100 prompts." in page.text()


def test_examples_are_folded(page: Page) -> None:
    folded = page.all("details", class_="examples")
    assert len(folded) == 2
    assert all("open" not in each.attributes for each in folded)
    assert "sources[0] row 7 sample 2 why why why" in page.text()


def test_what_was_asked_is_told_a_branch_and_in_sum_by_currency(page: Page) -> None:
    [heading] = page.all("h3", id="answers")
    told = page.text()[page.text().index(heading.text) :]
    for line in (
        "math teacher r1 300 4,000 50,000 1.23 USD",
        "math judge judge-8b 300 4,000 50,000 0.0004 EUR",
        "coding teacher r1 300 4,000 50,000 1.23 USD",
        "all branches 900 12,000 150,000 2.47 USD, 0.0004 EUR",
    ):
        assert line in told
    [cost] = [each for each in page.all("dd") if "for answers" in each.text]
    assert cost.text.endswith("and 2.47 USD, 0.0004 EUR for answers")


def test_the_card_tells_it_in_short(job: CuratedJob) -> None:
    card = job.read("README.md")
    for line in (
        (
            "| coding | 100 | 200 | 60.0% | 120 wrong answer (verify), 90 another answer was kept (select), "
            "3 overlong (train) | 87 | – |"
        ),
        "| science | 100 | – | – | 10 empty (read), 3 overlong (train) | 87 | 10% of each batch from math |",
        "| math | judge | `judge-8b` | 300 | 4,000 | 50,000 | 0.0004 EUR |",
        "| all branches | – | – | 900 | 12,000 | 150,000 | 2.47 USD, 0.0004 EUR |",
    ):
        assert line in card


def test_the_data_have_every_number_and_no_text_of_a_row(job: CuratedJob) -> None:
    math, _, science = json.loads(job.read("report.json"))["data"]
    assert (math["branch"], math["read"], math["learned"]) == ("math", 100, 87)
    assert math["steps"][2] == {"name": "verify", "in": 300, "added": 0, "out": 180, "dropped": {"wrong answer": 120}}
    assert math["steps"][-1] == {"name": "train", "in": 90, "added": 0, "out": 87, "dropped": {"overlong": 3}}
    assert math["passRates"] == taught()["passRates"]
    assert math["asked"][0] == asked()
    assert (science["passRates"], science["asked"]) == (None, [])
    assert "why" not in json.dumps(math)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_no_text_of_a_row_a_reason_or_a_model_is_markup(text: str, tmp_path: Path) -> None:
    """The page and the card have the same elements as with harmless texts."""
    harmless, hostile = (
        CuratedJob(tmp_path / name, funnels={"math": taught(words, words, words)})
        for name, words in (("harmless", "word"), ("hostile", text))
    )
    expected, found = page_of(harmless), page_of(hostile)
    assert outline(found) == outline(expected)
    assert " ".join(text.replace("\x00", "").split()) in found.text().replace("\x00", "")
    assert markdown_outline(hostile) == markdown_outline(harmless)


def outline(page: Page) -> list[tuple[str, set[str]]]:
    """Elements and names of attributes; where a name of a model may be broken does not count."""
    return [(each.tag, set(each.attributes)) for each in page.elements if each.tag != "wbr"]


def markdown_outline(job: FinishedJob) -> list[str]:
    tokens = MarkdownIt("gfm-like", {"linkify": False}).parse(ModelCard(job.read("README.md")).text)
    return [
        inner.type
        for token in tokens
        for inner in (token, *(token.children or []))
        if inner.type not in ("text", "text_special")
    ]


@pytest.mark.parametrize(
    "written",
    [
        {},
        {"steps": []},
        {"steps": [], "passRates": None, "asked": None},
        {"steps": None, "passRates": {}, "asked": []},
        {"steps": [{"name": "read"}, {"name": "verify", "dropped": None}, {"name": "x", "dropped": {"a": {}}}]},
        {**taught(), "passRates": {"prompts": 0, "mean": None, "histogram": []}},
        {**taught(), "passRates": {"prompts": 5}, "asked": [{"who": "judge", "model": "m"}], "later": {"a": 1}},
        {**taught(), "asked": [asked(cost=None, currency=None)]},
    ],
    ids=[
        "nothing",
        "no steps",
        "nulls",
        "more nulls",
        "steps without counts",
        "none judged",
        "few fields",
        "no prices",
    ],
)
def test_parts_that_are_empty_or_not_there_are_no_error(written: Funnel, tmp_path: Path) -> None:
    job = CuratedJob(tmp_path, funnels={"math": written})
    page = page_of(job)
    assert "Data" in [heading.text for heading in page.all("h2")]
    assert len(json.loads(job.read("report.json"))["data"]) == 3


def test_a_curation_without_a_record_is_told_by_its_result(tmp_path: Path) -> None:
    page = page_of(FinishedJob(tmp_path))
    assert page.all("details", class_="branch") == []
    assert "10 empty (curate), 3 overlong (train)" in page.text()


def test_what_has_no_price_is_told_apart(tmp_path: Path) -> None:
    free = asked(cost=None, currency=None)
    job = CuratedJob(tmp_path, funnels={"math": {**taught(), "asked": [free]}, "coding": taught()})
    page = page_of(job)
    assert "math teacher r1 300 4,000 50,000 no prices" in page.text()
    assert "all branches 600 8,000 100,000 1.23 USD, some have no prices" in page.text()


@pytest.mark.parametrize(
    "damaged", ["", "[", "[]", '{"steps": [{}]}', '{"asked": [{"who": "x", "model": "m", "cost": "y"}]}']
)
def test_a_damaged_record_is_named(damaged: str, tmp_path: Path) -> None:
    (tmp_path / FUNNEL_FILE).write_text(damaged)
    with pytest.raises(InputError, match=r"funnel\.json: damaged .*run the job again$"):
        read_curation(tmp_path)


def test_money_is_exact(tmp_path: Path) -> None:
    (tmp_path / FUNNEL_FILE).write_text(json.dumps({"asked": [asked(cost="0.1")] * 3}))
    assert sum(each.cost or 0 for each in read_curation(tmp_path).asked) == Decimal("0.3")


def test_many_branches_are_folded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = CuratedJob(tmp_path, funnels=dict.fromkeys(("math", "coding", "science"), taught()))
    assert all("open" in each.attributes for each in page_of(job).all("details", class_="branch"))
    monkeypatch.setattr(pages, "MOST_OPEN", 2)
    (tmp_path / "again").mkdir()
    again = CuratedJob(tmp_path / "again", funnels=job.funnels)
    assert not any("open" in each.attributes for each in page_of(again).all("details", class_="branch"))


@pytest.mark.parametrize(
    ("shares", "room", "shown"),
    [
        ([0.5, 0.3], 0.8, [0.5, 0.3]),
        ([0.98999, 0.0, 0.00001], 0.99, [0.98, 0.0, 0.01]),
        ([0.5, 0.49, 0.000001], 0.99, [0.495 - 0.0000002, 0.485, 0.01]),
        ([0.001, 0.002], 0.003, [0.01, 0.01]),
        ([0.0, 0.0], 0.0, [0.0, 0.0]),
    ],
    ids=["as they are", "one in many is seen", "the wide ones give way", "both are tiny", "nothing"],
)
def test_what_is_there_is_seen(shares: list[float], room: float, shown: list[float]) -> None:
    assert visible(shares, room, least=0.01) == pytest.approx(shown, abs=2e-4)


def test_a_bar_with_twelve_tiny_reasons_ends_where_its_rows_end() -> None:
    svg = waterfall(10_000_000, 20_000_000, [("learned", 9_999_988), *((f"series-{i % 7}", 1) for i in range(12))])
    rects = [(float(x), float(width)) for x, width in re.findall(r'x="([\d.]+)%" width="([\d.]+)%"', svg)][1:]
    assert len(rects) == 13
    assert sum(rects[-1]) == pytest.approx(50, abs=0.1)
    assert min(width for _, width in rects) >= 0.9
    assert all(x + width == pytest.approx(after, abs=0.02) for (x, width), (after, _) in pairwise(rects))


@pytest.mark.parametrize(
    ("histogram", "found"),
    [
        ([(0, 2, 1), (2, 2, 3)], [("0", 1), ("1", 0), ("2", 3)]),
        (
            [(0, 3, 5), (0, 2, 1), (1, 3, 2), (1, 2, 4), (2, 3, 1), (3, 3, 6), (2, 2, 1)],
            [("none", 6), ("<20%", 0), ("20–39%", 2), ("40–59%", 4), ("60–79%", 1), ("≥80%", 0), ("all", 7)],
        ),
        (
            [(right, 20, 1) for right in range(21)],
            [("none", 1), ("<20%", 3), ("20–39%", 4), ("40–59%", 4), ("60–79%", 4), ("≥80%", 4), ("all", 1)],
        ),
        ([], []),
    ],
    ids=["equally many answers", "some failed", "many answers", "none judged"],
)
def test_pass_rates_by_column(histogram: list[tuple[int, int, int]], found: list[tuple[str, int]]) -> None:
    rates = PassRates(prompts=sum(count for _, _, count in histogram), histogram=histogram)
    assert [(column.label, column.prompts) for column in columns(rates)] == found


def test_columns_that_are_hardly_anything_are_seen() -> None:
    svg = drawn_columns("rates", [("0", 0.0001), ("1", 0.0), ("2", 0.9999)])
    assert re.findall(r'height="([\d.]+)"', svg)[1:] == ["1.5", "84.0"]
    assert re.findall(r">([^<>]+%)<", svg) == ["&lt;1%", "0%", "100%"]


def test_a_record_of_nothing_is_empty(tmp_path: Path) -> None:
    assert read_curation(tmp_path) == CurationRecord()
