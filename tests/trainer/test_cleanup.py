"""A job's outputs go, all of them; and nothing else does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from branchmerge.api.stage import CurateTask, Outcome, StageConfig, StageResult
from branchmerge_trainer import cleanup
from branchmerge_trainer.cleanup import remove_outputs
from branchmerge_trainer.workspace import Workspace, new_folder, publish
from builders import at

A, B, C = "a" * 64, "b" * 64, "c" * 64


def config_of(job: str, stage: str, fingerprint: str, attempt: int = 1) -> StageConfig:
    task = CurateTask(branch="math", data={"sources": [{"path": "data/math.jsonl"}]})
    output = f"stages/{stage}/{fingerprint[:16]}"
    return StageConfig(
        job=job, stage=stage, fingerprint=fingerprint, attempt=attempt, output=output, ingredients={}, task=task
    )


class Workdir:
    """A workspace that jobs have worked in."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.workspace = Workspace(root, root)

    def unfinished(self, job: str, stage: str, fingerprint: str) -> Path:
        """What a killed attempt leaves: its half of an output, and its checkpoints."""
        config = config_of(job, stage, fingerprint)
        folder = new_folder(config, self.workspace)
        (folder / "model.safetensors").write_bytes(b"half")
        work = self.workspace.path(config.work) / "checkpoints"
        work.mkdir(parents=True)
        (work / "step-1").write_bytes(b"weights")
        return folder

    def finished(self, job: str, stage: str, fingerprint: str) -> Path:
        """A complete output."""
        config = config_of(job, stage, fingerprint)
        folder = self.unfinished(job, stage, fingerprint)
        (folder / "sub").mkdir()
        (folder / "sub" / "file").write_text("x")
        result = StageResult(stage=stage, fingerprint=fingerprint, digest="d", started_at=at(0), finished_at=at(1))
        publish(folder, result, config, self.workspace)
        return self.workspace.path(config.output)

    def files(self) -> set[str]:
        return {path.relative_to(self.root).as_posix() for path in self.root.rglob("*") if not path.is_dir()}

    def write(self, path: str, text: str = "mine") -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


@pytest.fixture
def workdir(tmp_path: Path) -> Workdir:
    root = tmp_path / "volume" / "tiny"
    root.mkdir(parents=True)
    return Workdir(root)


def test_all_that_the_job_wrote_goes_and_its_folder_too(workdir: Workdir) -> None:
    workdir.finished("tiny", "curate/math", A)
    workdir.finished("tiny", "evaluate/specialist/math", B)
    workdir.unfinished("tiny", "train/math", C)
    removed = remove_outputs(workdir.root, "tiny")
    assert len(removed) == 4
    assert not workdir.root.exists()
    assert workdir.root.parent.exists(), "the volume stays"


def test_what_others_wrote_stays(workdir: Workdir) -> None:
    workdir.write("data/math.jsonl")
    workdir.write("models/student/config.json")
    workdir.write("stages/notes.txt")
    workdir.write(f"stages/train/math/{C[:16]}/model.safetensors")  # looks like an output, and says not whose
    workdir.write(f"stages/copies/{A[:16]}/lineage.json", json.dumps({"job": "tiny", "stage": "x", "fingerprint": A}))
    workdir.write("stages/broken/dddddddddddddddd/lineage.json", "{")
    workdir.finished("other", "train/math", B)
    before = workdir.files()
    workdir.finished("tiny", "train/math", A)
    workdir.finished("tiny", "report", A)
    assert len(remove_outputs(workdir.root, "tiny")) == 2
    assert workdir.files() == before


def test_what_endpoints_answered_to_the_job_goes_and_nothing_else_of_answers(workdir: Workdir) -> None:
    workdir.write("answers/notes.txt")
    workdir.write("answers/tiny/math/notes.txt")
    workdir.write("answers/tiny/math/teacher-mine/log.jsonl")
    workdir.write(f"answers/other/math/teacher-{A[:16]}/log.jsonl")
    before = workdir.files()
    workdir.finished("tiny", "curate/math", A)
    logs = [f"tiny/math/judge-{C[:16]}", f"tiny/math/teacher-{A[:16]}", f"tiny/science/teacher-{B[:16]}"]
    for log in logs:
        workdir.write(f"answers/{log}/0.jsonl")
        workdir.write(f"answers/{log}/deep/1.jsonl")
    removed = [folder.relative_to(workdir.root).as_posix() for folder in remove_outputs(workdir.root, "tiny")]
    assert removed[1:] == [f"answers/{log}" for log in logs]
    assert workdir.files() == before
    assert not (workdir.root / "answers/tiny/science").exists()


def test_answers_alone_go_with_their_folder(workdir: Workdir) -> None:
    workdir.write(f"answers/tiny/math/teacher-{A[:16]}/0.jsonl")
    remove_outputs(workdir.root, "tiny")
    assert not workdir.root.exists()


@pytest.mark.parametrize(
    "link", ["answers", "answers/tiny", "answers/tiny/math", f"answers/tiny/math/teacher-{A[:16]}"]
)
def test_answers_behind_a_link_stay(workdir: Workdir, tmp_path: Path, link: str) -> None:
    elsewhere = Workdir(tmp_path / "elsewhere")
    elsewhere.write(f"answers/tiny/math/teacher-{A[:16]}/0.jsonl")
    (workdir.root / link).parent.mkdir(parents=True, exist_ok=True)
    (workdir.root / link).symlink_to(elsewhere.root / link, target_is_directory=True)
    assert remove_outputs(workdir.root, "tiny") == []
    assert elsewhere.files() == {f"answers/tiny/math/teacher-{A[:16]}/0.jsonl"}


def test_two_jobs_at_one_output_each_keep_their_own(workdir: Workdir) -> None:
    done = workdir.finished("tiny", "train/math", A)
    begun = new_folder(config_of("other", "train/math", A, attempt=2), workdir.workspace)
    work = done.with_name(f"{done.name}.work")
    work.mkdir()
    assert remove_outputs(workdir.root, "tiny") == [done]
    assert begun.exists()
    assert work.exists(), "whose it is, nobody knows"


def test_links_are_not_followed(workdir: Workdir, tmp_path: Path) -> None:
    elsewhere = Workdir(tmp_path / "elsewhere")
    output = elsewhere.finished("tiny", "train/math", A)
    mine = workdir.finished("tiny", "merge/final", B)
    (mine / "base").symlink_to(output, target_is_directory=True)
    (workdir.root / "stages/train").symlink_to(output.parents[1], target_is_directory=True)
    (workdir.root / f"stages/{C[:16]}").symlink_to(output, target_is_directory=True)
    assert remove_outputs(workdir.root, "tiny") == [mine]
    assert (output / "sub/file").exists()


def test_it_goes_on_where_it_was_killed(workdir: Workdir, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed after any of its removals, an output is never complete and half gone, and the next call ends the work."""
    calls = 0
    unlink, rmdir = os.unlink, os.rmdir

    def dying(call: Callable[..., None], after: int) -> Callable[..., None]:
        def die_or_call(*args: object, **kwargs: object) -> None:
            nonlocal calls
            calls += 1
            if calls > after:
                raise KeyboardInterrupt
            call(*args, **kwargs)

        return die_or_call

    for after in range(12):
        calls = 0
        output = workdir.finished("tiny", "train/math", A)
        whole = {path.relative_to(output) for path in output.rglob("*")}
        with monkeypatch.context() as patch:
            patch.setattr(os, "unlink", dying(unlink, after))
            patch.setattr(os, "rmdir", dying(rmdir, after))
            try:
                remove_outputs(workdir.root, "tiny")
            except KeyboardInterrupt:
                left = {path.relative_to(output) for path in output.rglob("*")} if output.exists() else whole
                assert left == whole, f"a part of an output that looks complete, after {after} removals"
            else:
                assert after > 4, "the kills came while it worked"
        remove_outputs(workdir.root, "tiny")
        assert not workdir.root.exists() or workdir.files() == set()
        workdir.root.mkdir(exist_ok=True)


def run(root: Path | None, job: str | None, tmp_path: Path) -> tuple[int, Outcome]:
    log = tmp_path / "termination.log"
    environment = {**os.environ, "BRANCHMERGE_TERMINATION_LOG": str(log)}
    environment |= {"BRANCHMERGE_WORKSPACE": str(root)} if root else {}
    environment |= {"BRANCHMERGE_JOB": job} if job else {}
    command = [sys.executable, "-m", "branchmerge_trainer.cleanup"]
    code = subprocess.run(command, env=environment, check=False, capture_output=True, timeout=60).returncode
    return code, Outcome.model_validate_json(log.read_bytes())


def test_the_command(workdir: Workdir, tmp_path: Path) -> None:
    workdir.finished("tiny", "train/math", A)
    code, outcome = run(workdir.root, "tiny", tmp_path)
    assert (code, outcome.reason) == (0, "Completed")
    assert not workdir.root.exists()
    assert run(workdir.root, "tiny", tmp_path)[0] == 0, "nothing is left to do"


def test_the_command_needs_to_know_whose(workdir: Workdir, tmp_path: Path) -> None:
    code, outcome = run(workdir.root, None, tmp_path)
    assert (code, outcome.reason) == (64, "InvalidInput")
    assert "BRANCHMERGE_JOB" in outcome.message


def test_a_folder_that_cannot_be_removed_is_told(workdir: Workdir, monkeypatch: pytest.MonkeyPatch) -> None:
    workdir.finished("tiny", "train/math", A)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(workdir.root))

    monkeypatch.setattr(Path, "rename", refuse)
    monkeypatch.setenv("BRANCHMERGE_WORKSPACE", str(workdir.root))
    monkeypatch.setenv("BRANCHMERGE_JOB", "tiny")
    log = workdir.root.parent / "log"
    monkeypatch.setenv("BRANCHMERGE_TERMINATION_LOG", str(log))
    monkeypatch.setattr("branchmerge_trainer.signals.StopFlag.install", lambda _: None)
    assert cleanup.main() == 64
    assert "permission denied" in Outcome.model_validate_json(log.read_bytes()).message
