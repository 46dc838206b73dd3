"""API keys on this machine: asked for before anything starts, and given to nobody but who needs them."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from branchmerge.api.objects import SecretKeyRef
from branchmerge.api.stage import JUDGE_KEY_ENV, TEACHER_KEY_ENV
from branchmerge.cli.main import app
from branchmerge.core.graph import build_graph
from branchmerge.core.model import Observation, Start
from branchmerge.core.plan import plan
from branchmerge.local.capacity import Capacity
from branchmerge.local.executor import LocalExecutor
from branchmerge.local.keys import Keys, key_problems, variable_of
from branchmerge.local.layout import RunFolder
from branchmerge.local.machine import Machine
from branchmerge.local.problems import JobInputError, lines_of
from builders import make_job
from curations import CURATION, TEACHER
from jobfolder import make_folder, write_rows

ENVIRON = {"TEACHER_API_KEY": "sk-teacher", "TEACHER_JUDGE_KEY": "sk-judge", "HF_TOKEN": "hf"}
OTHER = {**TEACHER, "apiKeySecretRef": {"name": "other", "key": "key"}}


@pytest.mark.parametrize(
    ("name", "key", "variable"),
    [
        ("teacher", "api-key", "TEACHER_API_KEY"),
        ("my.team", "Key_2", "MY_TEAM_KEY_2"),
        ("2nd-teacher", "key", "_2ND_TEACHER_KEY"),
    ],
)
def test_the_variable_of_a_key(name: str, key: str, variable: str) -> None:
    assert variable_of(SecretKeyRef(name=name, key=key)) == variable


@pytest.mark.parametrize(
    ("edits", "environ", "missing", "told"),
    [
        pytest.param({}, ENVIRON, ["curate/math"], [], id="all there"),
        pytest.param(
            {},
            {},
            ["curate/math"],
            [
                "spec.teacher.apiKeySecretRef: teacher/api-key: the environment has no TEACHER_API_KEY",
                (
                    "spec.branches[0].data.verify.judge.apiKeySecretRef: teacher/judge.key: the environment has no "
                    "TEACHER_JUDGE_KEY"
                ),
            ],
            id="none there",
        ),
        pytest.param(
            {},
            ENVIRON | {"TEACHER_API_KEY": ""},
            ["curate/math"],
            ["spec.teacher.apiKeySecretRef: teacher/api-key: the environment has no TEACHER_API_KEY"],
            id="an empty one",
        ),
        pytest.param({}, {}, ["curate/coding", "train/math"], [], id="of a curation that is done"),
        pytest.param(
            {"branches.0.teacher": OTHER},
            ENVIRON,
            ["curate/math"],
            ["spec.branches[0].teacher.apiKeySecretRef: other/key: the environment has no OTHER_KEY"],
            id="of the branch's own teacher",
        ),
        pytest.param(
            {"branches.1.data": CURATION["branches.0.data"] | {"verify": {"method": "math"}, "decontaminate": None}},
            {"TEACHER_JUDGE_KEY": "x"},
            ["curate/math", "curate/coding"],
            ["spec.teacher.apiKeySecretRef: teacher/api-key: the environment has no TEACHER_API_KEY"],
            id="one key of two branches is told once",
        ),
    ],
)
def test_keys_that_are_not_there(
    edits: dict[str, Any], environ: dict[str, str], missing: list[str], told: list[str]
) -> None:
    problems = list(key_problems(make_job(CURATION | edits).spec, missing, environ))
    assert problems == [f"{line}: set it to the API key" for line in told]


DUMP = "import json, os; json.dump(dict(os.environ), open(os.environ['SEEN'], 'w'))"


def environment_of(stage: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What the process of a stage gets where the keys are in this process's environment."""
    for name, value in (ENVIRON | {"SEEN": str(folder / "seen.json")}).items():
        monkeypatch.setenv(name, value)
    job, run = make_job(CURATION), RunFolder(folder / "run")
    run.root.mkdir()
    executor = LocalExecutor(
        run,
        folder,
        Capacity(Machine(8, 1 << 40), 8, None),
        pins={},
        started_at=datetime.now(UTC),
        command=(sys.executable, "-c", DUMP),
        keys=Keys.of(job.spec, os.environ),
    )

    def observe() -> Observation:
        return asyncio.run(executor.observe(job))

    decided = plan(job, build_graph(job, {}, {}), observe())
    action = next(each for each in decided.actions if isinstance(each, Start) and each.stage.name == stage)
    assert asyncio.run(executor.start(action))
    until = time.monotonic() + 60
    while any(attempt.active for attempt in observe().attempts):
        assert time.monotonic() < until
        time.sleep(0.05)
    seen: dict[str, str] = json.loads((folder / "seen.json").read_text())
    return seen


def test_a_curation_gets_its_keys_by_the_names_of_the_contract(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = environment_of("curate/math", tmp_path, monkeypatch)
    assert (seen[TEACHER_KEY_ENV], seen[JUDGE_KEY_ENV]) == ("sk-teacher", "sk-judge")
    assert not {"TEACHER_API_KEY", "TEACHER_JUDGE_KEY"} & seen.keys()
    assert seen["HF_TOKEN"] == "hf"


def test_a_stage_that_asks_nobody_gets_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TEACHER_KEY_ENV, "sk-teacher")
    seen = environment_of("curate/coding", tmp_path, monkeypatch)
    assert "sk-teacher" not in seen.values()
    assert "sk-judge" not in seen.values()


def test_no_file_of_a_run_holds_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment_of("curate/math", tmp_path, monkeypatch)
    written = [file.read_text() for file in (tmp_path / "run").rglob("*") if file.is_file()]
    assert written
    assert [text for text in written if "sk-teacher" in text or "sk-judge" in text] == []


def test_keys_do_not_show_what_they_hold() -> None:
    assert "sk-" not in repr(Keys.of(make_job(CURATION).spec, ENVIRON))


def test_a_run_without_a_key_starts_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = {"sources": [{"prompts": {"path": "data/prompts.jsonl"}}]}
    branches = [
        {"name": "math", "data": data},
        {"name": "coding", "data": {"sources": [{"path": "data/coding.jsonl"}]}},
    ]
    make_folder(tmp_path, {"teacher": TEACHER, "branches": branches})
    write_rows(tmp_path / "data/prompts.jsonl", [{"prompt": "1 + 1?"}])
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TEACHER_API_KEY", raising=False)
    result = CliRunner().invoke(app, ["run", "job.yaml", "--trainer", "false"])
    assert result.exit_code != 0
    lines = lines_of(result.exception) if isinstance(result.exception, JobInputError) else ()
    (line,) = lines
    assert line.endswith(
        "spec.teacher.apiKeySecretRef: teacher/api-key: the environment has no TEACHER_API_KEY: set it to the API key"
    )
    assert not list((tmp_path / "runs/tiny").glob("attempts/*"))
