"""The miniature's teacher: asked as a curation asks it, and wrong as often as it says."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from asking import ask_all, teacher

MINI = Path(__file__).parents[2] / "examples" / "mini"


@pytest.fixture(scope="module")
def mini() -> Iterator[ModuleType]:
    """`examples/mini/teacher.py`, importable as where it is run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(MINI))
        import teacher as module

        yield module


@pytest.fixture(scope="module")
def domains(mini: ModuleType) -> dict[str, Any]:
    return dict(mini.make_domains(mini.SEED))


@pytest.fixture(scope="module")
def url(mini: ModuleType) -> Iterator[str]:
    with mini.serving(wrong=0.25) as url:
        yield url


def test_it_answers_a_curation_in_the_format_of_the_miniature(
    mini: ModuleType, domains: dict[str, Any], url: str, tmp_path: Path
) -> None:
    problems = [problem for domain in domains.values() for problem in domain.train[:20]]
    settings = teacher(url, model=mini.MODEL, sampling={"samples": 4})

    outcome = ask_all([problem.prompt for problem in problems], settings, tmp_path)

    assert not outcome.dropped
    right = 0
    for problem, answers in zip(problems, outcome.answers, strict=True):
        assert len(answers) == 4
        assert all(re.fullmatch(r"<think>[^<\n]+</think>[^<\n]+", answer.text) for answer in answers)
        right += sum(answer.text == problem.solution["content"] for answer in answers)
    assert 0.6 <= right / 240 <= 0.9
    with mini.serving(wrong=0.25) as other:
        again = ask_all(
            [problem.prompt for problem in problems],
            teacher(other, model=mini.MODEL, sampling={"samples": 4}),
            tmp_path / "again",
        )
    assert again.texts == outcome.texts, "prompt and seed determine an answer"


@pytest.mark.parametrize("wrong", [0.0, 0.25, 0.5])
@pytest.mark.parametrize("name", ["math", "coding", "science"])
def test_it_is_wrong_as_often_as_it_says(mini: ModuleType, domains: dict[str, Any], name: str, wrong: float) -> None:
    knowledge = mini.Knowledge(domains, wrong)
    problems = domains[name].train
    answers = [
        knowledge.answer(problem.prompt, seed).rpartition("</think>")[2] for problem in problems for seed in (1, 2)
    ]
    expected = [problem.answer for problem in problems for _ in (1, 2)]
    share = sum(answer != right for answer, right in zip(answers, expected, strict=True)) / len(answers)
    assert share == pytest.approx(wrong, abs=0.02)


def test_a_mistake_is_always_the_same_and_not_always_made(mini: ModuleType, domains: dict[str, Any]) -> None:
    knowledge = mini.Knowledge(domains, 0.25)
    for domain in domains.values():
        said = [{knowledge.answer(problem.prompt, seed) for seed in range(20)} for problem in domain.train[:300]]
        assert {len(answers) for answers in said} == {1, 2}


@pytest.mark.parametrize(
    ("request_", "status", "message"),
    [
        pytest.param({"model": "gpt", "messages": [{"role": "user", "content": "1"}]}, 404, "gpt", id="another model"),
        pytest.param(
            {"model": "mini-teacher", "messages": [{"role": "user", "content": "Hi"}]},
            400,
            "no problem",
            id="small talk",
        ),
        pytest.param({"model": "mini-teacher", "messages": []}, 400, "no request", id="no messages"),
        pytest.param([], 400, "no request", id="no object"),
    ],
)
def test_what_it_cannot_answer_it_refuses(url: str, request_: Any, status: int, message: str) -> None:
    body = json.dumps(request_).encode()
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(urllib.request.Request(f"{url}/chat/completions", body))  # noqa: S310 - ours
    assert caught.value.code == status
    assert message in json.loads(caught.value.read())["error"]["message"]


def test_it_says_its_models_and_answers_whole(mini: ModuleType, domains: dict[str, Any], url: str) -> None:
    with urllib.request.urlopen(f"{url}/models") as response:  # noqa: S310 - ours
        assert [model["id"] for model in json.load(response)["data"]] == [mini.MODEL]
    problem = domains["math"].train[0]
    order = {"model": mini.MODEL, "messages": [problem.question], "max_tokens": 5}
    request = urllib.request.Request(f"{url}/chat/completions", json.dumps(order).encode())  # noqa: S310 - ours
    with urllib.request.urlopen(request) as response:  # noqa: S310 - ours
        answer = json.load(response)
    assert answer["choices"][0]["message"]["content"] == problem.solution["content"][:5]
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"]["completion_tokens"] == 5


def test_it_runs_as_a_program(domains: dict[str, Any], tmp_path: Path) -> None:
    prompts = [domain.train[0].prompt for domain in domains.values()]
    command = [sys.executable, str(MINI / "teacher.py")]
    with subprocess.Popen([*command, "--port", "0"], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            endpoint = process.stdout.readline().strip()
            outcome = ask_all([*prompts, "?"], teacher(endpoint, model="mini-teacher"), tmp_path)
        finally:
            process.terminate()
    assert len(outcome.texts) == len(prompts)
    assert outcome.reasons == {"teacher: refused": 1}
    assert process.returncode == 0
    failed = subprocess.run([*command, "--wrong", "0.9"], capture_output=True, text=True, check=False)
    assert failed.returncode == 64
    assert failed.stderr == "teacher.py: --wrong 0.9: use a share from 0 to 0.75\n"


def test_it_is_there_for_a_command(mini: ModuleType) -> None:
    program = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1]).status); sys.exit(3)"
    with mini.serving() as taken:
        port = int(taken.rpartition(":")[2].removesuffix("/v1"))
    command = [sys.executable, str(MINI / "teacher.py"), "--port", str(port), sys.executable, "-c", program]
    done = subprocess.run([*command, f"{taken}/models"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (3, f"{taken}\n200\n"), done.stderr
