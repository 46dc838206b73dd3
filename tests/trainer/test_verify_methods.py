"""Which part of a completion counts, and when it is right: exact answers, letters, patterns, mathematics."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.context import SpawnProcess

import psutil
import pytest

from branchmerge_trainer.verify.judge_process import JudgeProcesses
from branchmerge_trainer.verify.math_judge import MathJudge, last_boxed
from branchmerge_trainer.verify.text import final_text, reference_letter, score_choice, score_exact, score_regex
from branchmerge_trainer.verify.verdict import Reason, Verdict

PLANETS = ("Mercury", "Venus", "Earth", "Mars")


@pytest.mark.parametrize(
    ("prompt", "completion", "text"),
    [
        pytest.param("Q:", "42", "42", id="no trace at all"),
        pytest.param("Q:", "<think>6*7</think>42", "42", id="what follows the trace"),
        pytest.param("Q:<think>\n", "6*7\n</think>\n\n42\n", "42", id="the prompt opened the trace"),
        pytest.param("Q:", "<think>a</think>1<think>b</think>2", "2", id="the last trace counts"),
        pytest.param("Q:", "the tag </think> ends it: </think>7", "7", id="a trace that quotes the tag"),
        pytest.param("Q:", "<think>6*7=4", None, id="a trace that was cut off"),
        pytest.param("Q:<think>\n", "42", None, id="a trace that the prompt opened and nothing closed"),
        pytest.param("Q: what is <think>?", "a tag", "a tag", id="the question only speaks of a trace"),
        pytest.param("Q:", "<think>x</think>", "", id="nothing follows"),
    ],
)
def test_what_counts_is_what_follows_the_trace(prompt: str, completion: str, text: str | None) -> None:
    assert final_text(prompt, completion) == text


@pytest.mark.parametrize(
    ("text", "correct"),
    [("222", True), (" 222\n", True), ("2222", False), ("", False), ("22 2", False)],
)
def test_an_exact_answer_is_equal_but_for_white_space_around_it(text: str, correct: bool) -> None:
    assert score_exact(text, "222").correct is correct


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        pytest.param("B", "B", id="a letter"),
        pytest.param("b", "B", id="a small letter"),
        pytest.param("(C)", "C", id="in brackets"),
        pytest.param("**D**", "D", id="in bold"),
        pytest.param("C) Earth", "C", id="a letter, a mark and its text"),
        pytest.param("D. Because it is red", "D", id="a letter with a full stop"),
        pytest.param("The answer is B.", "B", id="said to be the answer"),
        pytest.param("the correct answer is **(d)**", "D", id="said to be the answer, in bold and brackets"),
        pytest.param("**Answer:** A", "A", id="after a bold label"),
        pytest.param("Answer: $\\boxed{C}$", "C", id="boxed"),
        pytest.param("\\boxed{\\text{B}}", "B", id="boxed as text"),
        pytest.param("\\boxed{(B)}", "B", id="boxed in brackets"),
        pytest.param("The answer could be A, but no: the answer is D", "D", id="the last claim counts"),
        pytest.param("The answer is A. So \\boxed{B}", "B", id="a box is worth more than a claim"),
        pytest.param("A is wrong and B is wrong, so option C is correct", "C", id="an option that is correct"),
        pytest.param("We rule out A and B.\n\nC", "C", id="a last line that is a letter"),
        pytest.param("A cat sleeps, hence B", "B", id="an article is no letter"),
        pytest.param("I think it must be D", "D", id="a pronoun is no letter"),
        pytest.param("the answer is b", "B", id="a small letter at the end"),
        pytest.param("The answer is c.\n\nThat is Earth.", "C", id="a small letter at the end of a line"),
        pytest.param("Answer B", "B", id="an answer without a colon"),
        pytest.param("Option b", "B", id="an option and no more"),
        pytest.param("The correct option is: (d), as it is red", "D", id="a small letter in brackets"),
        pytest.param("The answer is A because it is hot", "A", id="a capital before a word"),
        pytest.param("The answer is a tough one.\n\nB", "B", id="the article after what is said"),
        pytest.param("The answer is a guess, so B is correct.", "B", id="the article, and a letter that is correct"),
        pytest.param("the answer is b) Venus", "B", id="a small letter before a bracket"),
        pytest.param("The options are A, B and C.\n\nC", "C", id="a list of options"),
        pytest.param("Options A and C are wrong.\n\nB.", "B", id="options that are wrong"),
        pytest.param("We can rule out option A.\n\nB", "B", id="an option that is ruled out"),
        pytest.param("Choice A fails; the correct one: B", "B", id="a choice that fails"),
        pytest.param("Mars", "D", id="the text of a choice"),
        pytest.param("mars.", "D", id="the text of a choice, written otherwise"),
        pytest.param("It is Venus", None, id="a choice within a sentence is no answer"),
        pytest.param("The answer is E", None, id="a letter that is no choice"),
        pytest.param("none of these", None, id="no letter"),
        pytest.param("I don't know", None, id="a word's first letter is no letter"),
        pytest.param("The answer isn't clear", None, id="an apostrophe"),
        pytest.param("", None, id="nothing"),
    ],
)
def test_the_letter_that_an_answer_settles_on(text: str, letter: str | None) -> None:
    verdict = score_choice(text, "B", PLANETS)
    assert verdict.prediction == letter
    assert verdict.reason == (None if letter == "B" else Reason.NO_ANSWER if letter is None else Reason.WRONG)


def test_without_choices_every_letter_is_possible() -> None:
    assert score_choice("The answer is J", "J").correct


@pytest.mark.parametrize(
    ("answer", "choices", "letter"),
    [("B", (), "B"), (" b ", PLANETS, "B"), ("Mars", PLANETS, "D"), ("mars.", PLANETS, "D")],
)
def test_the_letter_that_a_reference_names(answer: str, choices: tuple[str, ...], letter: str) -> None:
    assert reference_letter(answer, choices) == letter


@pytest.mark.parametrize(("answer", "choices"), [("E", PLANETS), ("Pluto", PLANETS), ("42", ()), ("", PLANETS)])
def test_a_reference_that_names_no_letter_is_refused(answer: str, choices: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="write one letter, A to"):
        reference_letter(answer, choices)


@pytest.mark.parametrize(
    ("text", "pattern", "answer", "reason", "prediction"),
    [
        pytest.param("yes", "yes|no", None, None, "yes", id="a match of the whole text"),
        pytest.param(" yes\n", "yes|no", None, None, "yes", id="white space around it"),
        pytest.param("yes, sir", "yes|no", None, Reason.NO_ANSWER, None, id="only a part matches"),
        pytest.param("I say: 42.", r".*?(\d+)\.", "42", None, "42", id="what a group holds is the answer"),
        pytest.param("I say: 41.", r".*?(\d+)\.", "42", Reason.WRONG, "41", id="a group that holds another"),
        pytest.param("a\nb\n#### 7", r".*#### (-?\d+)", "7", None, "7", id="over several lines"),
        pytest.param("no number", r".*?(\d+)\.", "42", Reason.NO_ANSWER, None, id="no match"),
        pytest.param("", ".+", None, Reason.NO_ANSWER, None, id="nothing"),
    ],
)
def test_a_pattern(text: str, pattern: str, answer: str | None, reason: Reason | None, prediction: str | None) -> None:
    assert score_regex(text, pattern, answer) == Verdict(reason, prediction)


def test_a_pattern_that_never_ends_is_given_up() -> None:
    with JudgeProcesses(score_regex, int, seconds=1) as judges:
        assert judges.judge("a" * 40 + "!", "(?:a+)+", None).reason is Reason.TIMED_OUT
        assert judges.judge("aaa", "(?:a+)+", None).correct


@pytest.fixture(scope="module")
def judge() -> Iterator[MathJudge]:
    with MathJudge() as judge:
        yield judge


@pytest.mark.parametrize(
    ("text", "answer", "correct"),
    [
        pytest.param("42", "42", True, id="a number"),
        pytest.param("so it is \\boxed{\\frac{1}{2}}", "0.5", True, id="a boxed fraction and a decimal"),
        pytest.param("\\boxed{41}? No, \\boxed{42}", "42", True, id="the last box counts"),
        pytest.param("\\boxed{42}? No, \\boxed{41}", "42", False, id="only the last box counts"),
        pytest.param("First 7, then 42", "42", True, id="the last number counts"),
        pytest.param("First 42, then 7", "42", False, id="only the last number counts"),
        pytest.param("x^2+2x+1", "(x+1)^2", True, id="a bare expression"),
        pytest.param("\\boxed{2\\sqrt{3}}", "\\sqrt{12}", True, id="roots"),
        pytest.param("\\boxed{1,2}", "2,1", True, id="a list of solutions in another order"),
        pytest.param("\\boxed{(1,2)}", "(2,1)", False, id="a point is in order"),
        pytest.param("\\boxed{x=3}", "3", True, id="an equation and its right side"),
        pytest.param("\\boxed{1{,}000}", "1000", True, id="a thousands separator"),
        pytest.param("\\boxed{50\\%}", "50\\%", True, id="a percentage"),
        pytest.param("$\\frac12$", "$\\frac{1}{2}$", True, id="a reference in dollar signs"),
        pytest.param("\\boxed{Tuesday}", "Tuesday", True, id="words"),
        pytest.param("\\boxed{Monday}", "Tuesday", False, id="other words"),
        pytest.param("\\boxed{42", "42", True, id="a box that is not closed"),
        pytest.param("\\boxed{[0,1)}", "[0, 1)", True, id="a half-open interval"),
        pytest.param("\\boxed{[0,1)}", "[0,1]", False, id="an interval that is closed instead"),
        pytest.param("\\boxed{(-\\infty,2]}", "\\left(-\\infty, 2\\right]", True, id="an interval without end"),
        pytest.param("\\boxed{x\\in[1,3]}", "[1,3]", True, id="an interval that x lies in"),
        pytest.param(
            "\\boxed{(1,\\infty)\\cup(-\\infty,-1)}", "(-\\infty,-1)\\cup(1,\\infty)", True, id="a union of intervals"
        ),
        pytest.param("\\boxed{5\\text{ cm}}", "5", True, id="a unit that the reference lacks"),
        pytest.param("\\boxed{5}", "5\\text{ cm}", True, id="a unit that the answer lacks"),
        pytest.param("\\boxed{5\\,\\mathrm{cm}}", "5 \\text{ cm}", True, id="a unit written otherwise"),
        pytest.param("\\boxed{12\\text{ km/h}}", "12", True, id="a unit with a slash"),
        pytest.param("\\boxed{120\\text{ m}^2}", "120", True, id="a squared unit"),
        pytest.param("\\boxed{6\\text{ cm}}", "5\\text{ cm}", False, id="a number that is wrong in its unit"),
        pytest.param("\\boxed{90^\\circ}", "90", True, id="degrees"),
        pytest.param("\\boxed{\\$18}", "18", True, id="money"),
        pytest.param("\\boxed{1,234.50}", "1234.5", True, id="a thousands separator and a decimal"),
        pytest.param("\\boxed{50\\%}", "0.5", True, id="a percentage and a fraction"),
        pytest.param("\\boxed{0.333}", "\\frac{1}{3}", False, id="a rounded number is another"),
        pytest.param("\\boxed{3.14}", "\\pi", False, id="a rounded pi is another"),
        pytest.param("\\boxed{1\\frac{1}{2}}", "1.5", True, id="a mixed number"),
        pytest.param("\\boxed{-\\dfrac{3}{4}}", "-0.75", True, id="a negative fraction"),
        pytest.param("\\boxed{10!}", "3628800", True, id="a factorial"),
        pytest.param("\\boxed{\\log_2 8}", "3", True, id="a logarithm"),
        pytest.param("\\boxed{\\{1,2,3\\}}", "\\{3,2,1\\}", True, id="a set"),
        pytest.param("\\boxed{1,2}", "1,2,3", False, id="a solution is missing"),
        pytest.param("\\boxed{5 \\text{ or } 7}", "5, 7", True, id="one or the other"),
        pytest.param("\\boxed{x=\\pm 2}", "\\pm 2", True, id="plus or minus"),
        pytest.param("\\boxed{2+3i}", "3i+2", True, id="a complex number"),
        pytest.param("\\boxed{y=1+2x}", "y=2x+1", True, id="a line"),
        pytest.param(
            "\\boxed{\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}}",
            "\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}",
            True,
            id="a matrix",
        ),
        pytest.param("\\boxed{\\text{no solution}}", "no solution", True, id="words in a box"),
        pytest.param("\\boxed{\\boxed{7}}", "7", True, id="a box in a box"),
        pytest.param("The answer is **42**.", "42", True, id="a sentence in bold"),
        pytest.param("\\boxed{}", "0", False, id="an empty box"),
        pytest.param("no idea", "42", False, id="no expression"),
        pytest.param("", "42", False, id="nothing"),
    ],
)
def test_equivalent_mathematics_is_right(judge: MathJudge, text: str, answer: str, correct: bool) -> None:
    assert judge.judge(text, answer).correct is correct


@pytest.mark.parametrize(
    ("text", "content"),
    [
        (r"\boxed{\frac{1}{2}} and \boxed{\sqrt{\frac{3}{4}}}.", r"\sqrt{\frac{3}{4}}"),
        (r"\boxed{1} and \boxed{2", "1"),
        ("none", None),
    ],
)
def test_the_last_complete_box(text: str, content: str | None) -> None:
    assert last_boxed(text) == content


ENDLESS = r"\boxed{9^{9^9}}"


def test_the_next_answer_is_judged_whatever_the_last_one_did_to_the_judge() -> None:
    with MathJudge(seconds=3) as judge:
        assert judge.judge(ENDLESS, "1").reason is Reason.TIMED_OUT
        assert judge.judge("1", "1").correct
        threading.Timer(0.3, process_of(judge).kill).start()
        assert judge.judge(ENDLESS, "1").reason is Reason.CRASHED, "the judge died over it"
        assert judge.judge("1", "1").correct
        process_of(judge).kill()
        process_of(judge).join()
        assert judge.judge("1", "1").correct, "the judge had died before"


def test_a_judge_outlives_the_thread_that_first_asked_it() -> None:
    with MathJudge() as judge:
        for _ in range(3):
            with ThreadPoolExecutor(1) as thread:
                assert thread.submit(judge.judge, "1", "1").result().correct
            time.sleep(0.2)


def process_of(judge: MathJudge) -> SpawnProcess:
    process = judge._processes[0]._process
    assert process is not None
    return process


def test_the_judge_does_not_outlive_its_parent() -> None:
    script = (
        "import time\n"
        "from branchmerge_trainer.verify.math_judge import MathJudge\n"
        "judge = MathJudge()\n"
        "judge.judge('1', '1')\n"
        "print(judge._processes[0]._process.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    deadline = time.monotonic() + 10
    while child.is_running() and child.status() != psutil.STATUS_ZOMBIE and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
