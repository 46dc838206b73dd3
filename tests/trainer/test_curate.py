"""Curation: in this process, and once as the process that a pod would run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from branchmerge.api.stage import CurateTask, Outcome, StageConfig, StageResult
from branchmerge_trainer.curate.dataset import read_messages
from branchmerge_trainer.main import main
from tinymodels import make_model, save

Curate = Callable[..., tuple[int, Outcome]]

CHAT = {"messages": [{"role": "user", "content": "1+1="}, {"role": "assistant", "content": "<think>1,2</think>2"}]}


def config_for(attempt: int, task: Mapping[str, Any] | None = None, **data: Any) -> StageConfig:
    return StageConfig(
        job="demo",
        stage="curate/math",
        fingerprint="f" * 64,
        attempt=attempt,
        output="stages/curate/math/ffff",
        ingredients={"kind": "curate"},
        task=CurateTask.model_validate({"branch": "math", "data": data, **(task or {})}),
    )


@pytest.fixture
def curate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Curate:
    """Runs the stage as a node's main process would; returns exit code and termination message."""

    def run(attempt: int = 1, workspace: Path = tmp_path, **data: Any) -> tuple[int, Outcome]:
        monkeypatch.setenv("BRANCHMERGE_STAGE", config_for(attempt, **data).to_json())
        monkeypatch.setenv("BRANCHMERGE_WORKSPACE", str(workspace))
        monkeypatch.setenv("BRANCHMERGE_TERMINATION_LOG", str(tmp_path / "outcome.json"))
        code = main()
        return code, Outcome.model_validate_json((tmp_path / "outcome.json").read_bytes())

    return run


def write_jsonl(path: Path, *rows: Any) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def kept_rows(workspace: Path) -> list[Any]:
    return list(read_messages(workspace / "stages/curate/math/ffff/rows.parquet"))


def test_rows_of_every_format_get_one_shape_and_drops_are_counted(tmp_path: Path, curate: Curate) -> None:
    write_jsonl(tmp_path / "chat.jsonl", CHAT, {"messages": []}, {"messages": CHAT["messages"][:1]})
    pq.write_table(pa.table({"q": ["2+2=", "3+3="], "a": ["4", " "]}), tmp_path / "pairs.parquet")
    sources = [
        {"path": "chat.jsonl"},
        {"path": "pairs.parquet", "columns": {"prompt": "q", "completion": "a"}},
    ]

    code, outcome = curate(sources=sources)

    assert code == 0
    assert outcome.result is not None
    assert outcome.result.figures["rows"] == 2
    assert outcome.result.dropped == {"empty": 1, "no answer": 1, "empty answer": 1}
    assert kept_rows(tmp_path) == [
        CHAT["messages"],
        [{"role": "user", "content": "2+2="}, {"role": "assistant", "content": "4"}],
    ]


def test_limits_drop_and_count(tmp_path: Path, curate: Curate) -> None:
    long = {"messages": [{"role": "user", "content": "x" * 50}, {"role": "assistant", "content": "y"}]}
    write_jsonl(tmp_path / "rows.jsonl", long, CHAT, CHAT, CHAT)

    code, outcome = curate(sources=[{"path": "rows.jsonl"}], limits={"maxRows": 2, "maxCharacters": 40})

    assert code == 0
    assert outcome.result is not None
    assert outcome.result.dropped == {"too long": 1, "over limits.maxRows": 1}


SUITE = {"name": "aime", "path": "aime.jsonl", "method": "exact"}
QUESTION = "How many positive integers below one hundred have exactly three divisors, one and itself among them?"


def said(prompt: str, answer: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]}


def test_a_row_passes_one_filter_after_another_and_all_are_accounted_for(tmp_path: Path, curate: Curate) -> None:
    save(tmp_path / "student", make_model())
    write_jsonl(tmp_path / "aime.jsonl", {"id": "q1", "prompt": QUESTION, "answer": "4"})
    text = " ".join(f"w{number}" for number in range(60))
    rows = [said(f"Is {number} even?", f"<think>{number}</think>{number % 2 == 0}") for number in range(20)]
    flawed = {
        "no trace": said("Is 1 odd?", "Yes"),
        "repeats a row": rows[3],
        "nearly repeats a row": said("Copy!", f"<think>hm</think>{text} end"),
        "holds a question of a suite": said(f"Hi! {QUESTION.lower()}", "<think>4, 9, 25, 49</think>4"),
        "too many tokens": said("Count!", f"<think>{'1' * 500}</think>500"),
    }
    write_jsonl(tmp_path / "rows.jsonl", said("Copy!", f"<think>hm</think>{text}"), *rows, *flawed.values())

    code, outcome = curate(
        task={"suites": [SUITE], "student": {"name": "student", "model": "student"}},
        sources=[{"path": "rows.jsonl"}],
        require={"closedThink": True},
        deduplicate={"nearThreshold": 0.8},
        decontaminate={},
        limits={"maxTokens": 400, "maxRows": 15},
        shuffle={"seed": 7},
    )

    assert code == 0
    assert outcome.result is not None
    assert outcome.result.dropped == dict.fromkeys(flawed, 1) | {"over limits.maxRows": 6}
    assert outcome.result.figures["rows"] == 15
    assert outcome.result.figures["tokens"] > 15 * 20
    folder = tmp_path / "stages/curate/math/ffff"
    steps = json.loads((folder / "funnel.json").read_text())["steps"]
    assert [(step["name"], step["out"]) for step in steps] == [
        ("read", 26),
        ("require", 25),
        ("limit tokens", 24),
        ("deduplicate", 23),
        ("deduplicate near", 22),
        ("decontaminate", 21),
        ("cap and order", 15),
    ]
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md", "funnel.json", "lineage.json", "result.json", "rows.parquet", "rows.sha256",
    ]  # fmt: skip
    assert not (tmp_path / "stages/curate/math/ffff.work").exists()


def test_equal_rows_have_an_equal_digest_whatever_their_source(tmp_path: Path, curate: Curate) -> None:
    digests = []
    for name, row in {"chat": CHAT, "pairs": {"prompt": "1+1=", "completion": "<think>1,2</think>2"}}.items():
        (tmp_path / name).mkdir()
        write_jsonl(tmp_path / name / "rows.jsonl", row)
        columns = {"messages": "messages"} if name == "chat" else {"prompt": "prompt", "completion": "completion"}
        _, outcome = curate(workspace=tmp_path / name, sources=[{"path": "rows.jsonl", "columns": columns}])
        assert outcome.result is not None
        digests.append(outcome.result.digest)

    assert digests[0] == digests[1]


def test_a_finished_stage_exits_at_once_with_its_result(tmp_path: Path, curate: Curate) -> None:
    write_jsonl(tmp_path / "rows.jsonl", CHAT)
    _, first = curate(sources=[{"path": "rows.jsonl"}])
    (tmp_path / "rows.jsonl").unlink()

    code, second = curate(attempt=2, sources=[{"path": "rows.jsonl"}])

    assert code == 0
    assert second.result == first.result


def test_what_a_killed_attempt_left_is_never_read(tmp_path: Path, curate: Curate) -> None:
    write_jsonl(tmp_path / "rows.jsonl", CHAT)
    half = tmp_path / "stages/curate/math/ffff.new-1"
    half.mkdir(parents=True)
    (half / "rows.parquet").write_bytes(b"PAR1")

    code, _ = curate(attempt=2, sources=[{"path": "rows.jsonl"}])

    assert code == 0
    assert kept_rows(tmp_path) == [CHAT["messages"]]
    assert sorted(path.name for path in half.parent.iterdir()) == ["ffff"]


def test_lineage_and_result_lie_beside_the_rows(tmp_path: Path, curate: Curate) -> None:
    write_jsonl(tmp_path / "rows.jsonl", CHAT)
    curate(sources=[{"path": "rows.jsonl"}])

    folder = tmp_path / "stages/curate/math/ffff"
    assert json.loads((folder / "lineage.json").read_text())["ingredients"] == {"kind": "curate"}
    result = StageResult.model_validate_json((folder / "result.json").read_bytes())
    assert result.versions["datasets"]


WRONG_INPUT = {
    "a file that is not there": ({"sources": [{"path": "none.jsonl"}]}, "none.jsonl: not found"),
    "a file without rows": ({"sources": [{"path": "empty.jsonl"}]}, ": no rows"),
    "a row without its column": (
        {"sources": [{"path": "pairs.jsonl"}]},
        "pairs.jsonl, row 1: no column 'messages'; it has 'prompt', 'completion': set columns",
    ),
    "a later row without its column": (
        {"sources": [{"path": "gap.jsonl", "columns": {"prompt": "prompt", "completion": "completion"}}]},
        "gap.jsonl, row 2: no column 'completion'",
    ),
    "an unknown role": ({"sources": [{"path": "role.jsonl"}]}, "row 1: message 0 has the role 'human': use one of"),
    "a column of another type": (
        {"sources": [{"path": "pairs.jsonl", "columns": {"messages": "prompt"}}]},
        "column 'prompt' is '1+1=', not a list of messages",
    ),
    "a file of an unknown format": ({"sources": [{"path": "rows.csv"}]}, "unknown file format: use .jsonl"),
    "a broken file": ({"sources": [{"path": "broken.jsonl"}]}, "broken.jsonl, line 1: cannot be read as JSON"),
    "rows that are all dropped": (
        {"sources": [{"path": "pairs.jsonl", "columns": {"prompt": "prompt", "completion": "prompt"}}],
         "limits": {"maxCharacters": 1}},
        "every row was dropped (1 too long)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG_INPUT)
def test_wrong_input_is_one_line_and_exit_code_64(
    case: str, tmp_path: Path, curate: Curate, capsys: pytest.CaptureFixture[str]
) -> None:
    data, message = WRONG_INPUT[case]
    pair = {"prompt": "1+1=", "completion": "2"}
    write_jsonl(tmp_path / "empty.jsonl")
    write_jsonl(tmp_path / "pairs.jsonl", pair)
    write_jsonl(tmp_path / "gap.jsonl", pair, {"prompt": "2+2="})
    write_jsonl(tmp_path / "role.jsonl", {"messages": [{"role": "human", "content": "hi"}]})
    (tmp_path / "rows.csv").write_text("a,b\n")
    (tmp_path / "broken.jsonl").write_text('{"messages": [\n')

    code, outcome = curate(**data)

    assert code == 64
    assert outcome.reason == "InvalidInput"
    assert message in outcome.message
    assert "branch math: data.sources" in outcome.message
    stderr = capsys.readouterr().err
    assert "Traceback" not in stderr
    assert stderr.strip().count("\n") == 0
    assert not (tmp_path / "stages/curate/math/ffff").exists()


def test_a_workspace_that_cannot_be_written_is_one_line_and_exit_code_64(tmp_path: Path, curate: Curate) -> None:
    write_jsonl(tmp_path / "rows.jsonl", CHAT)
    (tmp_path / "stages").write_text("a file in the way")

    code, outcome = curate(sources=[{"path": "rows.jsonl"}])

    assert code == 64
    assert outcome.reason == "WorkspaceUnusable"
    assert str(tmp_path / "stages") in outcome.message


def test_the_process_of_a_pod_says_by_exit_code_and_message_how_it_ended(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "rows.jsonl", CHAT)
    environ = {
        **os.environ,
        "BRANCHMERGE_STAGE": config_for(1, sources=[{"path": "rows.jsonl"}, {"path": "none.jsonl"}]).to_json(),
        "BRANCHMERGE_WORKSPACE": str(tmp_path),
        "BRANCHMERGE_TERMINATION_LOG": str(tmp_path / "outcome.json"),
    }

    command = [sys.executable, "-m", "branchmerge_trainer"]
    process = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)

    assert process.returncode == 64
    assert process.stderr.splitlines() == [
        "InvalidInput: branch math: data.sources[1]: none.jsonl: not found: relative paths start from " + str(tmp_path)
    ]
    assert Outcome.model_validate_json((tmp_path / "outcome.json").read_bytes()).exit_code == 64
