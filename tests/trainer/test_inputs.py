"""What the names of inputs stand for: the same digests as in a local run, one line for each that is not there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from branchmerge.api.errors import InputError
from branchmerge.api.stage import InputsTask, InputToResolve, StageConfig
from branchmerge.core.inputs import InputRef, pins_of
from branchmerge.local.pins import PinResolver
from branchmerge_trainer.inputs.stage import run
from branchmerge_trainer.progress import ProgressReporter
from branchmerge_trainer.runtime import Findings, StageContext
from branchmerge_trainer.signals import StopFlag
from branchmerge_trainer.workspace import Workspace

COMMIT = "c" * 40


def resolved(root: Path, *inputs: InputToResolve) -> Findings:
    """The findings of the stage on inputs below `root`."""
    task = InputsTask(inputs=list(inputs))
    config = StageConfig(
        job="tiny", stage="inputs", fingerprint="f" * 64, attempt=1, output="out", ingredients={}, task=task
    )
    context = StageContext(config, Workspace(root, root), ProgressReporter([]), StopFlag(at_once=True))
    folder = root / "out"
    folder.mkdir(exist_ok=True)
    findings = run(task, context, folder)
    assert json.loads((folder / "pins.json").read_text()) == findings.pins
    return findings


def entry(kind: Any, location: str, revision: str | None = None) -> InputToResolve:
    return InputToResolve(kind=kind, location=location, revision=revision, field="the input")


def test_a_folder_and_a_file_have_the_digests_of_a_local_run(tmp_path: Path) -> None:
    (tmp_path / "student").mkdir()
    for name, text in {"config.json": "{}", "README.md": "prose", ".cache": "hidden", "model.safetensors": "x"}.items():
        (tmp_path / "student" / name).write_text(text)
    (tmp_path / "rows.jsonl").write_text("{}")
    refs = [InputRef("student", "model", "student", "main"), InputRef("rows", "file", "rows.jsonl")]

    findings = resolved(tmp_path, entry("model", "student", "main"), entry("file", "rows.jsonl"))

    assert pins_of(refs, findings.pins) == PinResolver(tmp_path / "pins.json", tmp_path, {}).resolve(refs)


def test_a_commit_stands_for_itself_and_a_uri_for_its_location(tmp_path: Path) -> None:
    findings = resolved(tmp_path, entry("dataset", "acme/rows", COMMIT), entry("file", "s3://bucket/rows.jsonl"))
    assert findings.pins == [COMMIT, None]


def test_every_input_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'a.jsonl' is not there.*; .*'b.jsonl' is not there"):
        resolved(tmp_path, entry("file", "a.jsonl"), entry("file", "b.jsonl"))


def test_more_inputs_than_a_termination_message_holds_are_refused(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("{}")
    with pytest.raises(InputError, match="60 inputs are too many for one job"):
        resolved(tmp_path, *[entry("file", "rows.jsonl")] * 60)
