"""Commands that look: validate, plan, status, logs, report; and how they end."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from branchmerge.cli.main import app
from commandline import CommandLine
from jobfolder import STAGES, make_folder


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    """The folder of a job that is done; tests must not change it."""
    line = CommandLine(tmp_path_factory.mktemp("finished"), {})
    make_folder(line.folder)
    assert line.type("run", "job.yaml").returncode == 0
    return line


@pytest.fixture
def copy(finished: CommandLine, tmp_path: Path) -> CommandLine:
    """A folder of a finished job that a test may change. Its inputs have new inodes, so they are read again."""
    shutil.copytree(finished.folder, tmp_path / "copy", dirs_exist_ok=True)
    return CommandLine(tmp_path / "copy", {})


@pytest.fixture
def here(finished: CommandLine, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    """Commands that are called in this process, in the folder of the finished job."""
    monkeypatch.chdir(finished.folder)
    return CliRunner()


def test_validate_counts_what_there_is(here: CliRunner) -> None:
    result = here.invoke(app, ["validate", "job.yaml"])
    assert result.exit_code == 0
    assert result.output == "job.yaml: valid: 2 branches, 1 merge step, 1 suite, 8 stages\n"


def test_plan_of_a_finished_job_would_run_nothing(here: CliRunner) -> None:
    result = here.invoke(app, ["plan", "job.yaml"])
    assert result.exit_code == 0
    assert result.output.count("cached") == len(STAGES)
    assert "nothing would run: everything is there" in result.output


def test_plan_says_what_would_run_again_and_which_ingredient_changed(copy: CommandLine) -> None:
    file = copy.folder / "job.yaml"
    file.write_text(file.read_text().replace("globalBatchSize: 4", "globalBatchSize: 8"))
    run = copy.type("plan", "job.yaml")
    lines = {line.split()[0]: line for line in run.stdout.splitlines() if line.strip()}
    assert "cached" in lines["curate/math"]
    assert lines["train/math"].split()[2] == "run"
    assert "training.globalBatchSize: 4 -> 8" in lines["train/math"]
    assert "train/math:" in lines["merge/final"]
    assert "5 stages of 8 would run" in run.stdout


def test_plan_of_a_new_job_makes_no_folder(tmp_path: Path) -> None:
    make_folder(tmp_path)
    line = CommandLine(tmp_path, {})
    run = line.type("plan", "job.yaml")
    assert run.returncode == 0, run.stderr
    assert run.stdout.count(" new") == len(STAGES)
    assert not line.workspace.exists()


def test_plan_tells_which_gain_a_suite_can_detect(tmp_path: Path) -> None:
    suite = {"name": "house", "path": "eval/house.jsonl", "method": "exact"}
    make_folder(tmp_path, {"evaluation": {"suites": [suite], "gates": [{"suite": "house", "minGain": "0.02"}]}})
    run = CommandLine(tmp_path, {}).type("plan", "job.yaml")
    assert "gate house: asks for a gain of 0.02; with 100 questions one below 0.139 may be chance" in run.stdout


def test_status_of_a_finished_job(here: CliRunner) -> None:
    result = here.invoke(app, ["status", "job.yaml"])
    assert result.exit_code == 0
    assert "Succeeded  100%  branches 2/2" in result.output
    assert result.output.count("✓ done") == len(STAGES)
    assert "no run works on it" in result.output


def test_status_tells_of_attempts_that_go_on_without_a_run(tmp_path: Path) -> None:
    make_folder(tmp_path)
    line = CommandLine(tmp_path, {"curate/math": {"steps": 500, "seconds": 0.05}})
    run = line.begin("run", "job.yaml")
    line.wait_for_step("curate/math", 1)
    assert f"a run works on it (process {run.pid})" in line.type("status", "job.yaml").stdout
    run.kill()
    run.communicate()
    assert "attempts go on without it" in line.type("status", "job.yaml").stdout
    line.end()
    status = line.type("status", "job.yaml").stdout
    assert "no run works on it" in status
    assert "running" not in status


def test_status_is_followed_as_long_as_a_run_works(tmp_path: Path) -> None:
    make_folder(tmp_path)
    line = CommandLine(tmp_path, {"curate/math": {"steps": 60, "seconds": 0.05}})
    run = line.begin("run", "job.yaml")
    line.wait_for_step("curate/math", 1)
    watched = line.type("status", "job.yaml", "--watch")
    assert watched.returncode == 0, watched.stderr
    assert "curate/math: started" in watched.stdout
    assert "report: done" in watched.stdout
    assert "Succeeded: " in watched.stdout.splitlines()[-1]
    run.communicate(timeout=60)


def test_suspend_and_resume_of_a_local_run_name_what_does_it(tmp_path: Path) -> None:
    make_folder(tmp_path)
    line = CommandLine(tmp_path, {"curate/math": {"steps": 500, "seconds": 0.05}})
    idle = line.type("suspend", "job.yaml")
    assert (idle.returncode, idle.stderr.count("\n")) == (64, 1)
    assert idle.stderr.endswith("of a local run: no run works on it\n")
    run = line.begin("run", "job.yaml")
    line.wait_for_step("curate/math", 1)
    busy = line.type("suspend", "job.yaml")
    assert busy.stderr.endswith(f"stop it after a checkpoint with Ctrl-C or `kill {run.pid}`\n")
    run.terminate()
    run.communicate(timeout=60)
    assert run.returncode == 130
    resume = line.type("resume", "job.yaml")
    assert (resume.returncode, resume.stderr.count("\n")) == (64, 1)
    assert resume.stderr.endswith("a local run goes on with branchmerge run job.yaml\n")


def test_logs_of_a_stage(here: CliRunner) -> None:
    result = here.invoke(app, ["logs", "job.yaml", "train/math"])
    assert (result.exit_code, result.output) == (0, "step 1/2\nstep 2/2\nCompleted: \n")


def test_logs_that_are_followed_end_with_the_attempt(tmp_path: Path) -> None:
    make_folder(tmp_path)
    line = CommandLine(tmp_path, {"curate/math": {"steps": 60, "seconds": 0.05}})
    run = line.begin("run", "job.yaml")
    line.wait_for_step("curate/math", 1)
    followed = line.type("logs", "job.yaml", "curate/math", "--follow")
    assert followed.returncode == 0
    assert followed.stdout.splitlines() == [*(f"step {number}/60" for number in range(1, 61)), "Completed: "]
    assert line.steps()["curate/math 60"] == 1
    run.communicate(timeout=60)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(["train/physics"], "STAGE: no stage 'train/physics': use one of curate/math,", id="no such stage"),
        pytest.param(["train/math", "--attempt", "9"], "--attempt: no attempt 9: use one of 1", id="no such attempt"),
        pytest.param(["train/math", "--node", "3"], "--node: attempt 1 of train/math has no node 3", id="no such node"),
    ],
)
def test_logs_that_are_not_there(finished: CommandLine, arguments: list[str], said: str) -> None:
    run = finished.type("logs", "job.yaml", *arguments)
    assert run.returncode == 64
    assert run.stderr.startswith(f"error: {said}")


def test_logs_of_a_stage_that_has_not_started(tmp_path: Path) -> None:
    make_folder(tmp_path)
    run = CommandLine(tmp_path, {}).type("logs", "job.yaml", "report")
    assert (run.returncode, run.stderr.count("\n")) == (1, 1)


@pytest.mark.parametrize(("format_", "file"), [("md", "README.md"), ("html", "report.html"), ("json", "report.json")])
def test_the_report_is_printed_as_it_is(here: CliRunner, format_: str, file: str) -> None:
    result = here.invoke(app, ["report", "job.yaml", "--format", format_])
    assert result.exit_code == 0
    assert json.loads(result.output) == {"is": file}


def test_no_report_yet_is_one_message(tmp_path: Path) -> None:
    make_folder(tmp_path)
    run = CommandLine(tmp_path, {}).type("report", "job.yaml")
    assert run.returncode == 1
    assert "no report yet: finish the job with branchmerge run job.yaml" in run.stderr


def test_the_report_of_an_earlier_version_comes_with_a_remark(copy: CommandLine) -> None:
    file = copy.folder / "job.yaml"
    file.write_text(file.read_text().replace("globalBatchSize: 4", "globalBatchSize: 8"))
    run = copy.type("report", "job.yaml")
    assert run.returncode == 0
    assert "note: this report is of an earlier version" in run.stderr
    assert json.loads(run.stdout) == {"is": "README.md"}


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        pytest.param(["--version"], 0, "branchmerge 0.", id="version"),
        pytest.param(["--help"], 0, "run", id="help"),
        pytest.param(["run", "--help"], 0, "Example: branchmerge run", id="help with an example"),
        pytest.param(["runn"], 64, "runn", id="no such command"),
        pytest.param(["run"], 64, "FILE", id="no file"),
        pytest.param(["run", "job.yaml", "--parallel", "0"], 64, "parallel", id="an option out of range"),
        pytest.param(["report", "job.yaml", "--format", "pdf"], 64, "pdf", id="an option of another kind"),
        pytest.param(["validate", "none.yaml"], 64, "error: none.yaml: no such file", id="no such file"),
        pytest.param(["validate", "."], 64, "error: .: is a folder", id="a folder"),
    ],
)
def test_exit_codes(tmp_path: Path, arguments: list[str], code: int, said: str) -> None:
    run = CommandLine(tmp_path, {}).type(*arguments)
    assert run.returncode == code
    assert said in run.stdout + run.stderr
    assert "Traceback" not in run.stderr


def test_fields_of_a_cluster_are_noted(tmp_path: Path) -> None:
    make_folder(tmp_path, {"resources": {"pool": "h800"}})
    run = CommandLine(tmp_path, {}).type("validate", "job.yaml")
    assert run.returncode == 0
    assert run.stderr == "note: apply on a cluster only: spec.resources.pool\n"
