"""What `branchmerge plan` says of teachers and judges: how much they are asked, and the most that it may cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from branchmerge.cli.asking import asked
from branchmerge.cli.main import app
from builders import make_job
from curations import JUDGE, TEACHER
from jobfolder import make_folder, write_rows

DATA = {"sources": [{"prompts": {"path": "data/prompts.jsonl"}}]}
PRICES = {"inputPerMillion": "1", "outputPerMillion": "4", "currency": "EUR"}
UNKNOWN = "what that may cost is not known: set prices and limits.maxCost"
FOUR = {"samples": 4, "maxTokens": 1000}


def money(amount: str) -> dict[str, Any]:
    return {"maxCost": {"amount": amount, "currency": "EUR"}}


def lines(folder: Path, data: dict[str, Any], teacher: dict[str, Any]) -> list[str]:
    """What is said of the branch `math`, whose file has 1500 prompts."""
    write_rows(folder / "data/prompts.jsonl", [{"prompt": "?"}] * 1500)
    spec = make_job({"teacher": TEACHER | teacher, "branches.0.data": data}).spec
    return list(asked(spec, folder, {"math", "coding"}))


@pytest.mark.parametrize(
    ("teacher", "said"),
    [
        pytest.param({}, f"1500 prompts x 1 sample = 1500 answers; {UNKNOWN}", id="no prices"),
        pytest.param(
            {"prices": PRICES, "sampling": FOUR},
            "1500 prompts x 4 samples = 6000 answers; at most 24.00 EUR for what it generates",
            id="prices",
        ),
        pytest.param(
            {"prices": PRICES, "sampling": FOUR, "limits": money("20")},
            "1500 prompts x 4 samples = 6000 answers; at most 20.00 EUR",
            id="a budget that is reached first",
        ),
        pytest.param(
            {"prices": PRICES, "sampling": FOUR, "limits": money("2000")},
            "1500 prompts x 4 samples = 6000 answers; at most 24.00 EUR for what it generates, at most 2,000.00 EUR in "
            "all",
            id="a budget that is not reached",
        ),
        pytest.param(
            {"prices": PRICES, "sampling": FOUR, "limits": {"maxTokens": 1_000_000}},
            "1500 prompts x 4 samples = 6000 answers; at most 4.00 EUR",
            id="a budget of tokens, all of them dear ones",
        ),
    ],
)
def test_a_teacher(tmp_path: Path, teacher: dict[str, Any], said: str) -> None:
    assert lines(tmp_path, DATA, teacher) == [f"teacher of math, r1: {said}"]


@pytest.mark.parametrize(
    ("sources", "said"),
    [
        pytest.param([{"prompts": {"path": "data/prompts.jsonl"}, "maxRows": 7}], "7 prompts", id="a cap"),
        pytest.param([{"prompts": {"path": "data/prompts.jsonl"}, "maxRows": 7777}], "1500 prompts", id="a high cap"),
        pytest.param([{"prompts": {"dataset": {"repo": "acme/p"}}, "maxRows": 7}], "7 prompts", id="a capped data set"),
        pytest.param(
            [{"prompts": {"path": "data/prompts.jsonl"}}, {"path": "rows.jsonl"}], "1500 prompts", id="rows beside them"
        ),
        pytest.param(
            [{"prompts": {"path": "data/prompts.jsonl"}}, {"prompts": {"path": "s3://bucket/p.jsonl"}}],
            "1 answer a prompt, whose number is not known yet",
            id="prompts that are elsewhere",
        ),
    ],
)
def test_prompts_are_counted_where_they_can_be(tmp_path: Path, sources: list[dict[str, Any]], said: str) -> None:
    (line,) = lines(tmp_path, {"sources": sources}, {})
    assert line.startswith(f"teacher of math, r1: {said}")


def test_a_judge_is_told_with_its_budget(tmp_path: Path) -> None:
    judge = JUDGE | {"prices": PRICES, "limits": money("5")}
    told = lines(tmp_path, DATA | {"verify": {"method": "judge", "judge": judge}}, {})
    assert told[1] == "judge of math, v3: at most 5.00 EUR"


def test_plan_tells_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    branches = [
        {"name": "math", "data": DATA},
        {"name": "coding", "data": {"sources": [{"path": "data/coding.jsonl"}]}},
    ]
    make_folder(tmp_path, {"teacher": TEACHER | {"prices": PRICES, "sampling": FOUR}, "branches": branches})
    write_rows(tmp_path / "data/prompts.jsonl", [{"prompt": "?"}] * 3)
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["plan", "job.yaml"])
    assert result.exit_code == 0, result.output
    told = " ".join(result.output.split())
    assert "teacher of math, r1: 3 prompts x 4 samples = 12 answers; at most 0.05 EUR for what it generates" in told
