"""The stage as a pod runs it, with a teacher that answers and something that says which answers are right."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from branchmerge.api.stage import CurateTask, ExitCode, Outcome, StageConfig
from branchmerge_trainer.curate.dataset import read_messages
from branchmerge_trainer.main import main
from modelendpoint import ModelEndpoint, Reaction, Received, fails, model_endpoint, says
from tinymodels import make_model, save

KEY, JUDGE_KEY = "key-of-the-teacher", "key-of-the-judge"
PROMPTS = 12
SAMPLES = 3
OUTPUT = "stages/curate/math/ffff"


@pytest.fixture
def endpoint() -> Iterator[ModelEndpoint]:
    """Adds up; its seed says whether it errs: of the sums of 5 always, else sometimes. It judges by the reference."""

    def react(received: Received) -> Reaction:
        system = received.body["messages"][0]
        if system["role"] == "system":
            right = re.search(r"answer>\n(\d+)\n", received.prompt), re.search(r"reference>\n(\d+)\n", received.prompt)
            assert all(right), received.prompt
            return says(f"VERDICT: {'CORRECT' if right[0][1] == right[1][1] else 'INCORRECT'}")  # type: ignore[index]
        left, other = map(int, received.prompt.split("+"))
        if received.prompt == "3+3":
            return fails(400, "too long")
        errs = left == 5 or received.body["seed"] % 3 == 0
        return says(str(left + other + errs), reasoning="I add.")

    with model_endpoint(react) as endpoint:
        yield endpoint


class Workspace:
    """A workspace with prompts and complete rows."""

    def __init__(
        self,
        root: Path,
        endpoint: ModelEndpoint,
        patch: pytest.MonkeyPatch,
        capture: pytest.CaptureFixture[str],
    ) -> None:
        self.root = root
        self._patch = patch
        self._capture = capture
        self.endpoint = endpoint
        prompts = [{"prompt": f"{n}+{n}", "answer": str(2 * n)} for n in range(1, PROMPTS + 1)]
        (root / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in prompts))
        (root / "rows.jsonl").write_text(json.dumps({"prompt": "1+2", "completion": "3", "answer": "3"}) + "\n")

    def curate(self, fingerprint: str = "f" * 64, attempt: int = 1, **data: Any) -> Outcome:
        """Run the stage as a node's main process would."""
        rows = {"path": "rows.jsonl", "columns": {"prompt": "prompt", "completion": "completion"}}
        sources = [rows, {"prompts": {"path": "prompts.jsonl"}}]
        teacher = {
            "endpoint": self.endpoint.url,
            "model": "teacher-1",
            "apiKeySecretRef": {"name": "teacher", "key": "api-key"},
            "sampling": {"samples": SAMPLES},
            "prices": {"inputPerMillion": "1000", "outputPerMillion": "2000"},
            "retries": 0,
        }
        task = {
            "branch": "math",
            "data": {"sources": sources, **data},
            "teacher": teacher,
            "student": {"name": "student", "model": "student"},
            "answers": "answers/demo/math/teacher-0000000000000000",
            "verdicts": "answers/demo/math/judge-0000000000000000",
        }
        config = StageConfig(
            job="demo",
            stage="curate/math",
            fingerprint=fingerprint,
            attempt=attempt,
            output=OUTPUT,
            ingredients={"kind": "curate"},
            task=CurateTask.model_validate(task),
        )
        for name, value in {
            "BRANCHMERGE_STAGE": config.to_json(),
            "BRANCHMERGE_WORKSPACE": str(self.root),
            "BRANCHMERGE_TERMINATION_LOG": str(self.root / "outcome.json"),
            "BRANCHMERGE_TEACHER_API_KEY": KEY,
            "BRANCHMERGE_JUDGE_API_KEY": JUDGE_KEY,
        }.items():
            self._patch.setenv(name, value)
        main()
        told = "".join(self._capture.readouterr())
        assert KEY not in told
        assert JUDGE_KEY not in told
        return Outcome.model_validate_json((self.root / "outcome.json").read_bytes())

    @property
    def answers(self) -> dict[str, list[str]]:
        """Prompt -> what was kept of its answers."""
        kept: dict[str, list[str]] = {}
        for messages in read_messages(self.root / OUTPUT / "rows.parquet"):
            kept.setdefault(messages[0]["content"], []).append(messages[-1]["content"])
        return kept

    @property
    def funnel(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = json.loads((self.root / OUTPUT / "funnel.json").read_text())
        return found


@pytest.fixture
def workspace(
    tmp_path: Path, endpoint: ModelEndpoint, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Workspace:
    return Workspace(tmp_path, endpoint, monkeypatch, capfd)


def thought(answer: int) -> str:
    return f"<think>\nI add.\n</think>\n\n{answer}"


def test_what_a_teacher_answers_right_is_learned_and_every_answer_is_accounted_for(workspace: Workspace) -> None:
    outcome = workspace.curate(verify={"method": "exact"}, select={"strategy": "FirstCorrect"})

    assert outcome.exit_code == ExitCode.DONE, outcome.message
    assert outcome.result is not None
    answers = workspace.answers
    assert answers.pop("1+2") == ["3"], "a complete row is verified, too"
    assert answers == {prompt: [thought(2 * int(prompt.partition("+")[0]))] for prompt in answers}
    assert not {"3+3", "5+5"} & set(answers)

    steps = {step["name"]: step for step in workspace.funnel["steps"]}
    assert (steps["read"]["in"], steps["read"]["out"]) == (PROMPTS + 1, PROMPTS + 1)
    asked, verified, selected = steps["ask the teacher"], steps["verify"], steps["select"]
    assert asked["in"] + asked["added"] == 1 + PROMPTS * SAMPLES
    assert sum(drop["rows"] for drop in asked["dropped"].values()) == SAMPLES, "no answer to 3+3"
    assert verified["in"] == asked["out"] == 1 + (PROMPTS - 1) * SAMPLES
    assert verified["out"] == verified["in"] - verified["dropped"]["wrong answer"]["rows"]
    assert selected["out"] == len(answers) + 1 == outcome.result.figures["rows"]

    rates = workspace.funnel["passRates"]
    assert rates["prompts"] == PROMPTS  # those with an answer, and the complete row
    assert [0, SAMPLES, 1] in rates["histogram"], "5+5 is never right"
    (told,) = workspace.funnel["asked"]
    answered = (PROMPTS - 1) * SAMPLES
    assert (told["who"], told["answers"], told["promptTokens"]) == ("teacher", answered, 10 * answered)
    assert told["cost"] == f"{answered * (10 * 1000 + 20 * 2000) / 1e6:.4f}"
    assert outcome.result.figures["teacher_tokens"] == 30 * answered
    assert outcome.result.figures["pass_rate"] == rates["mean"]


def test_another_choice_among_the_answers_asks_nothing_again(workspace: Workspace) -> None:
    workspace.curate(fingerprint="a" * 64)
    unverified = workspace.answers
    asked = [received.key for received in workspace.endpoint.received if received.prompt != "3+3"]
    assert len(asked) == len(set(asked)) == (PROMPTS - 1) * SAMPLES
    assert len(unverified["5+5"]) == SAMPLES, "nobody looks at them"

    (workspace.root / OUTPUT).rename(workspace.root / "earlier")
    outcome = workspace.curate(fingerprint="b" * 64, verify={"method": "math", "minPassRate": 0.5})
    assert outcome.exit_code == ExitCode.DONE, outcome.message
    assert "5+5" not in workspace.answers
    again = [received.key for received in workspace.endpoint.received if received.prompt != "3+3"]
    assert again == asked


@pytest.mark.parametrize("limits", [{"maxCharacters": 40}, {"maxTokens": 40}], ids=str)
def test_an_answer_over_the_limits_is_no_choice(workspace: Workspace, limits: dict[str, int]) -> None:
    """Every answer is right, and every other one, by its seed, is long: the first short one is kept."""
    save(workspace.root / "student", make_model())
    short = set()

    def react(received: Received) -> Reaction:
        if received.body["seed"] % 2 == 0:
            short.add(received.prompt)
        right = sum(map(int, received.prompt.split("+")))
        return says(str(right), reasoning="1" * (1 + 60 * (received.body["seed"] % 2)))

    workspace.endpoint.react = react
    outcome = workspace.curate(verify={"method": "exact"}, select={"strategy": "FirstCorrect"}, limits=limits)

    assert outcome.exit_code == ExitCode.DONE, outcome.message
    assert set(workspace.answers) == short | {"1+2"}
    assert all(len(answers) == 1 for answers in workspace.answers.values())


def test_a_judge_decides_instead(workspace: Workspace) -> None:
    judge = {
        "endpoint": workspace.endpoint.url,
        "model": "judge-1",
        "apiKeySecretRef": {"name": "judge", "key": "api-key"},
        "rubric": "Right if equal to the reference.",
    }
    outcome = workspace.curate(verify={"method": "judge", "judge": judge})

    assert outcome.exit_code == ExitCode.DONE, outcome.message
    for prompt, answers in workspace.answers.items():
        right = sum(map(int, prompt.split("+")))
        assert set(answers) <= {thought(right), str(right)}
    assert [each["who"] for each in workspace.funnel["asked"]] == ["teacher", "judge"]
    keys = {received.headers["authorization"] for received in workspace.endpoint.received}
    assert keys == {f"Bearer {KEY}", f"Bearer {JUDGE_KEY}"}
    written = [path for path in workspace.root.rglob("*") if path.is_file()]
    assert not [path for path in written if any(key.encode() in path.read_bytes() for key in (KEY, JUDGE_KEY))]


def test_a_reference_that_is_missing_is_the_users_mistake_and_what_was_answered_stays(workspace: Workspace) -> None:
    outcome = workspace.curate(verify={"method": "exact", "reference": "solution"})
    assert outcome.exit_code == ExitCode.INPUT
    assert "branch math: data.sources[0]: rows.jsonl, row 1: " in outcome.message
    assert "'solution'" in outcome.message


def test_a_wrong_key_is_told_with_its_field(workspace: Workspace) -> None:
    workspace.endpoint.react = lambda _: fails(401, f"invalid key {KEY}")
    outcome = workspace.curate()
    assert outcome.exit_code == ExitCode.INPUT
    assert "branch math: teacher" in outcome.message
    assert "apiKeySecretRef" in outcome.message
    assert KEY not in outcome.message
