"""The whole stage: scores and answers; a kill at any moment changes nothing."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from branchmerge.api.evaluation import Suite
from branchmerge.api.stage import EvaluateTask, ExitCode, ModelRef, Outcome, StageConfig
from branchmerge_trainer.evaluate.answers import read_answers
from branchmerge_trainer.evaluate.statistics import wilson
from branchmerge_trainer.main import main
from tinymodels import END_THINK, TEMPLATE, THINK, make_model, make_tokenizer, save, teach

LETTERS = "abcdefghijklmnop"
OUTPUT = "stages/evaluate/student/ffff"
Evaluate = Callable[..., tuple[int, Outcome]]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that was taught, among other things, to be wrong about `a` to `d`; and suites that ask it."""
    folder = tmp_path_factory.mktemp("inputs")
    taught = {letter: f"{THINK}{letter}{END_THINK}{ord(letter) + (letter in 'abcd')}" for letter in LETTERS}
    taught |= {"right": fenced("print(int(input())*2)"), "wrong": fenced("print(int(input())+2)"), "bad": fenced("1/0")}
    taught |= {"Red?\n\nA) Venus\nB) Mars": f"{THINK}M{END_THINK}(B)", "half": f"{THINK}1/2{END_THINK}0.5"}
    save(folder / "model", teach(make_model(), make_tokenizer(), taught, steps=250))
    write(folder / "exact.jsonl", *({"id": f"q{x}", "prompt": x, "answer": str(ord(x))} for x in LETTERS))
    write(folder / "choice.jsonl", {"id": "red", "prompt": "Red?", "choices": ["Venus", "Mars"], "answer": "B"})
    double = {"inputs": ["2\n", "5\n"], "outputs": ["4\n", "10\n"]}
    write(folder / "code.jsonl", *({"id": x, "prompt": x, "tests": double} for x in ("right", "wrong", "bad")))
    write(folder / "math.jsonl", {"id": "half", "prompt": "half", "answer": "\\frac{1}{2}"})
    return folder


def fenced(code: str) -> str:
    return f"{THINK}.{END_THINK}```\n{code}\n```"


def write(path: Path, *rows: Any) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def suite(method: str = "exact", **settings: Any) -> Suite:
    generation = {"maxTokens": 12, "batchSize": 8} | settings.pop("generation", {})
    return Suite.model_validate(
        {"name": method, "path": f"{method}.jsonl", "method": method, "generation": generation} | settings
    )


def environment(inputs: Path, workspace: Path, suites: tuple[Suite, ...], attempt: int) -> dict[str, str]:
    task = EvaluateTask(
        model=ModelRef(name="student", model="model"), suites=list(suites), engine="transformers", seed=42
    )
    config = StageConfig(
        job="demo",
        stage="evaluate/student",
        fingerprint="f" * 64,
        attempt=attempt,
        output=OUTPUT,
        ingredients={"kind": "evaluate"},
        task=task,
    )
    return {
        "BRANCHMERGE_STAGE": config.to_json(),
        "BRANCHMERGE_WORKSPACE": str(workspace),
        "BRANCHMERGE_INPUTS": str(inputs),
        "BRANCHMERGE_TERMINATION_LOG": str(workspace / "outcome.json"),
    }


@pytest.fixture
def evaluate(inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Evaluate:
    """Runs the stage in this process; returns exit code and termination message."""

    def run(*suites: Suite, inputs: Path = inputs, workspace: Path = tmp_path, attempt: int = 1) -> tuple[int, Outcome]:
        for name, value in environment(inputs, workspace, suites, attempt).items():
            monkeypatch.setenv(name, value)
        code = main()
        return code, Outcome.model_validate_json((workspace / "outcome.json").read_bytes())

    return run


def test_suites_are_scored_with_intervals_and_every_answer_is_kept(evaluate: Evaluate, tmp_path: Path) -> None:
    code, outcome = evaluate(suite("exact"), suite("choice"), suite("math"))
    assert code == ExitCode.DONE, outcome.message
    assert outcome.result is not None
    exact, choice, math = outcome.result.scores
    interval = wilson(12, 16)
    assert (exact.suite, exact.metric, exact.value, exact.n, exact.samples) == ("exact", "pass@1", 12 / 16, 16, 1)
    assert exact.ci95 == pytest.approx((interval.low, interval.high))
    assert (choice.value, math.value) == (1.0, 1.0)
    assert read_answers(tmp_path / OUTPUT, "exact") == {f"q{x}": float(x not in "abcd") for x in LETTERS}
    first = json.loads((tmp_path / OUTPUT / "answers/exact.jsonl").read_text().splitlines()[0])
    assert first | {"seed": 0} == {
        "id": "qa",
        "sample": 0,
        "seed": 0,
        "correct": 0,
        "prediction": "98",
        "completion": "<think>a</think>98",
        "tokens": 6,
        "truncated": False,
        "reason": "wrong answer",
    }
    figures = outcome.result.figures
    assert (figures["questions"], figures["truncated"]) == (18, 0)
    assert figures["tokensPerSecond"] == pytest.approx(figures["tokens"] / figures["seconds"])
    assert not (tmp_path / f"{OUTPUT}.work").exists()


def test_code_is_run_and_what_was_wrong_with_it_is_kept(evaluate: Evaluate, tmp_path: Path) -> None:
    code, outcome = evaluate(suite("code", generation={"maxTokens": 60}))
    assert code == ExitCode.DONE, outcome.message
    assert outcome.result is not None
    assert outcome.result.scores[0].value == pytest.approx(1 / 3)
    lines = [json.loads(line) for line in (tmp_path / OUTPUT / "answers/code.jsonl").read_text().splitlines()]
    assert {line["id"]: (line["correct"], line["reason"], line["prediction"]) for line in lines} == {
        "right": (1, None, "print(int(input())*2)"),
        "wrong": (0, "wrong answer", "print(int(input())+2)"),
        "bad": (0, "crashed", "1/0"),
    }


def test_several_samples_are_scored_a_question(evaluate: Evaluate, tmp_path: Path) -> None:
    warm = suite("exact", samples=3, generation={"temperature": 2.0})
    code, outcome = evaluate(warm)
    assert code == ExitCode.DONE, outcome.message
    assert outcome.result is not None
    (score,) = outcome.result.scores
    means = read_answers(tmp_path / OUTPUT, "exact")
    assert (score.n, score.samples) == (16, 3)
    assert score.value == pytest.approx(sum(means.values()) / 16)
    assert any(0 < mean < 1 for mean in means.values()), "samples of a question differ"
    lines = [json.loads(line) for line in (tmp_path / OUTPUT / "answers/exact.jsonl").read_text().splitlines()]
    assert [(line["id"], line["sample"]) for line in lines] == [(f"q{x}", n) for x in LETTERS for n in range(3)]
    assert len({line["seed"] for line in lines}) == 48


def test_a_truncated_trace_holds_no_answer(evaluate: Evaluate, tmp_path: Path) -> None:
    _, outcome = evaluate(suite("exact", generation={"maxTokens": 2}))
    assert outcome.result is not None
    assert outcome.result.figures["truncated"] == 1
    assert outcome.result.scores[0].value == 0
    first = json.loads((tmp_path / OUTPUT / "answers/exact.jsonl").read_text().splitlines()[0])
    assert (first["prediction"], first["completion"]) == (None, "<think>a")


def test_a_question_that_is_longer_than_the_models_context_is_named(
    evaluate: Evaluate, inputs: Path, tmp_path: Path
) -> None:
    write(inputs / "long.jsonl", {"id": "novel", "prompt": "x" * 200, "answer": "1"})
    code, outcome = evaluate(suite("exact", path="long.jsonl"))
    assert code == ExitCode.INPUT
    assert "question 'novel' has 203 tokens, but the model reads 128" in outcome.message
    assert not (tmp_path / OUTPUT).exists()


def test_a_bad_suite_is_found_before_the_model_is_loaded(evaluate: Evaluate) -> None:
    code, outcome = evaluate(suite("exact"), suite("math", path="nowhere.jsonl"))
    assert code == ExitCode.INPUT
    assert outcome.message.startswith("suite math: nowhere.jsonl: not found")


def test_a_model_without_tokenizer_is_named(evaluate: Evaluate, inputs: Path, tmp_path: Path) -> None:
    shutil.copytree(inputs / "model", tmp_path / "model")
    (tmp_path / "model/tokenizer.json").unlink()
    write(tmp_path / "exact.jsonl", {"id": "1", "prompt": "a", "answer": "97"})
    code, outcome = evaluate(suite("exact"), inputs=tmp_path)
    assert code == ExitCode.INPUT
    assert outcome.message.startswith(f"student: {tmp_path / 'model'}: no tokenizer (tokenizer.json, ")


def test_a_question_that_the_chat_template_refuses_is_named(evaluate: Evaluate, inputs: Path, tmp_path: Path) -> None:
    shutil.copytree(inputs / "model", tmp_path / "model")
    template = "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}" + TEMPLATE
    (tmp_path / "model/chat_template.jinja").write_text(template)
    write(tmp_path / "exact.jsonl", {"id": "1", "prompt": "a", "answer": "97"})
    code, outcome = evaluate(suite("exact", systemPrompt="Be brief."), inputs=tmp_path)
    assert code == ExitCode.INPUT
    assert outcome.message.startswith("suite exact: exact.jsonl: question '1': the chat template refuses the messages")


def test_answers_to_other_questions_are_not_used(evaluate: Evaluate, inputs: Path, tmp_path: Path) -> None:
    """As where a suite was edited in a place that has no digest."""
    kept = tmp_path / f"{OUTPUT}.work/answers/exact.jsonl"
    kept.parent.mkdir(parents=True)
    stale = {"id": "old", "sample": 0, "seed": 1, "correct": 1, "prediction": "", "completion": "", "tokens": 1}
    write(kept, {"index": 0, "seconds": 1.0, "answers": [stale | {"truncated": False}] * 8})
    code, _ = evaluate(suite("exact"))
    assert code == ExitCode.DONE
    assert read_answers(tmp_path / OUTPUT, "exact") == {f"q{x}": float(x not in "abcd") for x in LETTERS}


def start(inputs: Path, workspace: Path, *suites: Suite, attempt: int) -> subprocess.Popen[bytes]:
    """Start the stage as the process that a pod would run."""
    return subprocess.Popen(
        [sys.executable, "-m", "branchmerge_trainer"],
        env=os.environ | environment(inputs, workspace, suites, attempt),
        stderr=subprocess.DEVNULL,
    )


def wait_for_lines(path: Path, lines: int, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None and (not path.exists() or path.read_bytes().count(b"\n") < lines):
        time.sleep(0.005)


def test_killed_and_stopped_attempts_leave_answers_that_the_next_one_uses(
    evaluate: Evaluate, inputs: Path, tmp_path: Path
) -> None:
    """kill -9 within a write, then SIGTERM, then to the end: equal to a run that nobody disturbed."""
    slow = suite("exact", samples=20, generation={"temperature": 2.0, "batchSize": 2})
    undisturbed, disturbed = tmp_path / "undisturbed", tmp_path / "disturbed"
    undisturbed.mkdir()
    disturbed.mkdir()
    _, expected = evaluate(slow, workspace=undisturbed)

    kept = disturbed / f"{OUTPUT}.work" / "answers/exact.jsonl"
    killed = start(inputs, disturbed, slow, attempt=1)
    wait_for_lines(kept, 5, killed)
    killed.kill()
    assert killed.wait() == -signal.SIGKILL
    before = kept.read_bytes().splitlines(keepends=True)[:5]
    kept.write_bytes(b"".join(before) + b'{"index": 5, "seconds": 0.1, "answers": [{"id": "q')

    stopped = start(inputs, disturbed, slow, attempt=2)
    wait_for_lines(kept, 12, stopped)
    stopped.terminate()
    assert stopped.wait() == ExitCode.INTERRUPTED
    assert kept.read_bytes().splitlines(keepends=True)[:5] == before, "finished batches are not drawn again"
    assert not (disturbed / OUTPUT).exists()

    code, outcome = evaluate(slow, workspace=disturbed, attempt=3)
    assert code == ExitCode.DONE
    assert outcome.result is not None
    assert expected.result is not None
    assert outcome.result.scores == expected.result.scores
    assert outcome.result.digest == expected.result.digest, "the answers are equal, byte by byte"


def test_code_is_refused_before_the_model_is_loaded_where_it_cannot_be_isolated(inputs: Path, tmp_path: Path) -> None:
    """On a kernel without Landlock, unless the suite allows it."""
    stage = (
        "import errno, pyseccomp, sys\n"
        "old_kernel = pyseccomp.SyscallFilter(pyseccomp.ALLOW)\n"
        "old_kernel.add_rule(pyseccomp.ERRNO(errno.ENOSYS), 444)\n"
        "old_kernel.load()\n"
        "from branchmerge_trainer.main import main\n"
        "sys.exit(main())\n"
    )
    endings = {}
    for name, settings in {"refused": {}, "allowed": {"allowUnsandboxed": True}}.items():
        workspace = tmp_path / name
        workspace.mkdir()
        suites = (suite("code", generation={"maxTokens": 60}, **settings),)
        run = subprocess.run(
            [sys.executable, "-c", stage],
            env=os.environ | environment(inputs, workspace, suites, attempt=1),
            check=False,
            capture_output=True,
        )
        endings[name] = (run.returncode, Outcome.model_validate_json((workspace / "outcome.json").read_bytes()))
    code, refused = endings["refused"]
    assert code == ExitCode.INPUT
    assert refused.message.startswith("suite code: programs cannot be isolated here: the kernel lacks Landlock")
    assert refused.message.endswith("or set allowUnsandboxed: true where programs may do harm")
    code, allowed = endings["allowed"]
    assert code == ExitCode.DONE
    assert allowed.result is not None
    assert allowed.result.scores[0].value == pytest.approx(1 / 3)
