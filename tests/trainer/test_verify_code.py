"""Programs are judged by their question's tests, whichever way a data set writes them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from branchmerge_trainer.sandbox.sandbox import Sandbox
from branchmerge_trainer.verify.code import same_output, same_value, score_code
from branchmerge_trainer.verify.coding import Case, CodeTests, CodeTestsError, code_tests
from branchmerge_trainer.verify.programs import last_code
from branchmerge_trainer.verify.verdict import Reason


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


def fenced(code: str) -> str:
    return f"This is how:\n```python\n{code}\n```\nIt is linear."


ADD = {"inputs": ["1 2\n", "3 4\n"], "outputs": ["3\n", "7\n"]}
ADD_AS_CASES = [
    {"input": "1 2\n", "output": "3\n", "testtype": "stdin"},
    {"input": "3 4\n", "output": "7\n", "testtype": "stdin"},
]
TWO_SUM = {"inputs": [[[1, 2], 3], [[4, 4], 8]], "outputs": [[0, 1], [0, 1]], "fn_name": "two_sum"}
TWO_SUM_AS_CASES = [{"input": "[1, 2]\n3", "output": "[0, 1]", "testtype": "functional"}]
CALLED = CodeTests((Case("[1, 2]\n3", ([0, 1],)),), "two_sum")


@pytest.mark.parametrize(
    ("value", "row", "expected"),
    [
        pytest.param(ADD, {}, CodeTests((Case("1 2\n", ("3\n",)), Case("3 4\n", ("7\n",))), None), id="columns"),
        pytest.param(json.dumps(ADD), {}, code_tests(ADD, {}), id="columns as JSON text"),
        pytest.param(
            {"inputs": [["1 2", "3"]], "outputs": [["3", "4"]]},
            {},
            CodeTests((Case("1 2\n3", ("3\n4",)),), None),
            id="lists of lines, as in TACO",
        ),
        pytest.param(ADD_AS_CASES, {}, code_tests(ADD, {}), id="cases"),
        pytest.param(json.dumps(ADD_AS_CASES), {}, code_tests(ADD, {}), id="cases as JSON text"),
        pytest.param(
            [{"input": "1", "output": "2"}], {}, CodeTests((Case("1", ("2",)),), None), id="cases without a type"
        ),
        pytest.param(
            {"inputs": [[[1, 2], 3]], "outputs": [[0, 1]], "fn_name": "two_sum"},
            {},
            CALLED,
            id="a function, as in APPS",
        ),
        pytest.param(
            {"inputs": [[2]], "outputs": [[4]], "fn_name": "f"},
            {},
            CodeTests((Case("2", ([4], 4)),), "f"),
            id="a value in a list of its own, as in APPS",
        ),
        pytest.param(
            {"inputs": ["[1, 2]\n3"], "outputs": ["[0, 1]"], "fn_name": "two_sum"},
            {},
            CALLED,
            id="a function with lines of JSON",
        ),
        pytest.param(TWO_SUM_AS_CASES, {"func_name": "two_sum"}, CALLED, id="a function, as in LiveCodeBench"),
        pytest.param(
            TWO_SUM_AS_CASES, {"metadata": '{"func_name": "two_sum"}'}, CALLED, id="a function that metadata names"
        ),
        pytest.param(
            TWO_SUM_AS_CASES,
            {"metadata": "from a contest", "func_name": "two_sum"},
            CALLED,
            id="a function that the row names, and metadata without meaning",
        ),
        pytest.param(ADD, {"metadata": "from a contest"}, code_tests(ADD, {}), id="columns, and any metadata"),
        pytest.param(ADD_AS_CASES, {"metadata": "from a contest"}, code_tests(ADD, {}), id="cases, and any metadata"),
    ],
)
def test_the_forms_of_tests(value: Any, row: dict[str, Any], expected: CodeTests) -> None:
    assert code_tests(value, row) == expected


@pytest.mark.parametrize(
    ("value", "message"),
    [
        pytest.param("{", "is '{', which is no JSON: ", id="no JSON"),
        pytest.param(7, 'holds 7: write {"inputs": […], "outputs": […]} or [{"input", "output"}]', id="a number"),
        pytest.param({"inputs": []}, "needs the lists 'inputs' and 'outputs'", id="no outputs"),
        pytest.param({"inputs": ["1"], "outputs": []}, "has 1 inputs, but 0 outputs: write one for each", id="too few"),
        pytest.param({"inputs": [], "outputs": []}, "holds no test: add one", id="no test"),
        pytest.param([{"input": "1"}], "test 0 is {'input': '1'}: write {input, output}", id="no output"),
        pytest.param({"inputs": [1], "outputs": ["1"]}, "has 1 where a program reads or prints", id="a number to read"),
        pytest.param(TWO_SUM_AS_CASES, "calls a function that nothing names: add func_name", id="no function's name"),
        pytest.param([*ADD_AS_CASES, *TWO_SUM_AS_CASES], "has tests of the types functional, stdin", id="both types"),
        pytest.param(
            TWO_SUM | {"fn_name": "a b"}, "calls 'a b': write the name of a function", id="a name that is none"
        ),
        pytest.param(
            TWO_SUM | {"inputs": [1, 2]}, "calls with 1: write a list of arguments", id="no list of arguments"
        ),
        pytest.param(
            {"inputs": ["1"], "outputs": ["x"], "fn_name": "f"},
            "expects 'x', which is no JSON",
            id="a value that is none",
        ),
    ],
)
def test_what_is_wrong_with_tests_is_named(value: Any, message: str) -> None:
    with pytest.raises(CodeTestsError) as caught:
        code_tests(value, {})
    assert message in str(caught.value)


@pytest.mark.parametrize("metadata", ["from a contest", 7, "[]", {"level": "hard"}], ids=str)
def test_metadata_that_names_no_function_is_as_good_as_none(metadata: Any) -> None:
    with pytest.raises(CodeTestsError, match="calls a function that nothing names: add func_name"):
        code_tests(TWO_SUM_AS_CASES, {"metadata": metadata})


@pytest.mark.parametrize(
    ("text", "code"),
    [
        pytest.param(fenced("print(1)"), "print(1)", id="a block"),
        pytest.param(fenced("print(1)") + fenced("print(2)"), "print(2)", id="the last block"),
        pytest.param("```\nprint(1)\n```", "print(1)", id="without a language"),
        pytest.param("1. So:\n  ```py\n  print(1)\n  ```", "  print(1)", id="in a list"),
        pytest.param(fenced("print(1)") + "\n```python\nprint(", "print(1)", id="a block that was cut off"),
        pytest.param("print(1)", None, id="no block"),
        pytest.param("", None, id="nothing"),
    ],
)
def test_the_program_is_the_last_closed_block(text: str, code: str | None) -> None:
    assert last_code(text) == code


@pytest.mark.parametrize(
    ("printed", "expected", "same"),
    [
        ("3\n", "3", True),
        (" 3 \n\n", "3\n", True),
        ("1  \n2", "1\n2", True),
        ("1.0", "1", True),
        ("1 2.50", "1.0 2.5", True),
        ("1e3", "1000", True),
        ("3", "4", False),
        ("1 2", "1", False),
        ("1\n2", "1", False),
        ("1\n\n2", "1\n2", False),
        ("a", "A", False),
        ("YES 1", "YES 1.0", False),
        ("0.3333", "0.33333", False),
        ("nan", "1", False),
        ("-.5 +1.", "-0.5 1", True),
        ("1_0", "10", False),
        ("\uff11\uff10", "10", False),
        ("1e99999999999999999999", "1", False),
    ],
)
def test_output_is_compared_line_by_line_and_numbers_by_value(printed: str, expected: str, same: bool) -> None:
    assert same_output(printed, expected) is same


@pytest.mark.parametrize("printed", ["", "x", "[1", "[" * 100_000, "9" * 10_000, "[0, 1] [0, 1]"])
def test_whatever_a_function_returns_only_the_value_is_right(printed: str) -> None:
    assert not same_value(printed, [0, 1])
    assert same_value("[0, 1]", [0, 1])


@pytest.mark.parametrize(
    ("printed", "expected", "same"),
    [
        ("true", 1, False),
        ("1", True, False),
        ("false", 0, False),
        ("true", True, True),
        ("[0, [true]]", [0, [1]], False),
        ('{"a": [0]}', {"a": [False]}, False),
        ('{"a": [0], "b": null}', {"b": None, "a": [0]}, True),
        ('{"a": 0}', {"b": 0}, False),
        ("[1]", [1, 2], False),
        ("2.0", 2, True),
        ("null", False, False),
    ],
)
def test_truth_is_no_number_however_deep(printed: str, expected: object, same: bool) -> None:
    assert same_value(printed, expected) is same


SOLUTION = "class Solution:\n    def two_sum(self, a: List[int], t: int) -> List[int]:\n        return {}"


@pytest.mark.parametrize(
    ("code", "tests", "reason", "detail"),
    [
        pytest.param("print(sum(map(int, input().split())))", ADD, None, "", id="reads and prints"),
        pytest.param(
            "a, b = map(int, stdin.read().split())\nprint(a + b)", ADD, None, "", id="LiveCodeBench's imports"
        ),
        pytest.param(
            "from __future__ import annotations\nprint(sum(map(int, input().split())))", ADD, None, "", id="future"
        ),
        pytest.param(
            "def main():\n    print(sum(map(int, input().split())))\nif __name__ == '__main__':\n    main()",
            ADD,
            None,
            "",
            id="a main function",
        ),
        pytest.param("print(3)", ADD, Reason.WRONG, "test 2 of 2: '3', not '7\\n'", id="right once"),
        pytest.param("print(1 / 0)", ADD, Reason.CRASHED, "ZeroDivisionError: division by zero", id="an error"),
        pytest.param("print(", ADD, Reason.CRASHED, "SyntaxError: '(' was never closed", id="no Python"),
        pytest.param("import os; os.abort()", ADD, Reason.CRASHED, "signal 6", id="a crash"),
        pytest.param("while True: print('x' * 9999)", ADD, Reason.OVER_A_LIMIT, "too much output", id="endless output"),
        pytest.param("import socket; socket.socket()", ADD, Reason.CRASHED, "PermissionError", id="asks the network"),
        pytest.param("raise SystemExit(print(sum(map(int, input().split()))))", ADD, None, "", id="exits"),
        pytest.param("def two_sum(a, t):\n    return [0, 1]", TWO_SUM, None, "", id="a function"),
        pytest.param("def two_sum(a, t):\n    return (0, 1)", TWO_SUM, None, "", id="a tuple is as good as a list"),
        pytest.param(SOLUTION.format("[0, 1]"), TWO_SUM, None, "", id="a method, with types that nothing imports"),
        pytest.param(SOLUTION.format("print('noise') or [0, 1]"), TWO_SUM, None, "", id="what it prints is no value"),
        pytest.param(SOLUTION.format("[1, 0]"), TWO_SUM, Reason.WRONG, "'[1, 0]', not [0, 1]", id="another value"),
        pytest.param(SOLUTION.format("a.x"), TWO_SUM, Reason.CRASHED, "AttributeError", id="a function that fails"),
        pytest.param("def other(): pass", TWO_SUM, Reason.CRASHED, "KeyError: 'two_sum'", id="another function"),
        pytest.param(SOLUTION.format("exit()"), TWO_SUM, Reason.WRONG, "'', not [0, 1]", id="exits before its value"),
        pytest.param(
            "import sys\ndef two_sum(a, t):\n    sys.__stdout__.write('[0, 1]')\n    return object()",
            TWO_SUM,
            Reason.CRASHED,
            "TypeError: 'object' object is not iterable",
            id="a value that no JSON has",
        ),
        pytest.param(
            "def f(x):\n    return x * x",
            {"inputs": [[2]], "outputs": [[4]], "fn_name": "f"},
            None,
            "",
            id="APPS' list",
        ),
        pytest.param(
            "def f(x):\n    return {1: x}",
            {"inputs": ['"a"'], "outputs": ['{"1": "a"}'], "fn_name": "f"},
            None,
            "",
            id="keys as JSON has them",
        ),
    ],
)
def test_a_program_is_judged_by_its_tests(
    sandbox: Sandbox, code: str, tests: Any, reason: Reason | None, detail: str
) -> None:
    verdict = score_code(fenced(code), code_tests(tests, {}), sandbox, seconds=60)
    assert (verdict.reason, verdict.prediction) == (reason, code), verdict.detail
    assert detail in verdict.detail


def test_an_answer_without_code_is_no_answer(sandbox: Sandbox) -> None:
    assert score_code("print(3)", code_tests(ADD, {}), sandbox, 10).reason is Reason.NO_ANSWER
    assert score_code("```\n\n```", code_tests(ADD, {}), sandbox, 10).reason is Reason.NO_ANSWER


def test_time_is_for_all_tests_together(sandbox: Sandbox) -> None:
    tests = code_tests({"inputs": ["1"] * 20, "outputs": ["1"] * 20}, {})
    slow = fenced("import time; time.sleep(0.4); print(1)")
    verdict = score_code(slow, tests, sandbox, seconds=2)
    assert verdict.reason is Reason.TIMED_OUT
    assert score_code(fenced("while True: pass"), tests, sandbox, seconds=1).detail.startswith(
        "test 1 of 20: ran for 1."
    )


def test_a_program_does_not_see_what_is_expected(sandbox: Sandbox) -> None:
    """Not in its memory, either: it searches what the garbage collector knows of."""
    secret = "the-expected-output"
    spying = (
        f"import gc\nparts = {secret.split('-')}\nfound = [o for o in gc.get_objects() if '-'.join(parts) in repr(o)]"
    )
    tests = code_tests({"inputs": ["1"], "outputs": [secret]}, {})
    verdict = score_code(fenced(f"{spying}\nprint('-'.join(parts) if found else 'nothing')"), tests, sandbox, 30)
    assert verdict.detail == f"test 1 of 1: 'nothing', not {secret!r}"
