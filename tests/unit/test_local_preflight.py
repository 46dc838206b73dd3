"""Mistakes that are known before anything starts: each gets one line with place, value and fix."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from branchmerge.api.errors import InputError
from branchmerge.api.evaluation import Suite
from branchmerge.local.fields import cluster_only
from branchmerge.local.jobfile import load_job
from branchmerge.local.machine import Machine
from branchmerge.local.models import model_facts
from branchmerge.local.preflight import input_problems, machine_problems, prepare_folder
from branchmerge.local.problems import lines_of
from branchmerge.local.rows import suite_problem
from curations import TEACHER
from jobfolder import make_folder, question, write_rows

DATA, SUITE, MODEL = "path: data/math.jsonl", "path: eval/house.jsonl", "model: student"
"""Lines of the job's file that name them."""

Damage = Callable[[Path], Any]


def write(name: str, text: str) -> Damage:
    return lambda root: (root / name).write_text(text)


def remove(*names: str) -> Damage:
    return lambda root: [(root / name).unlink() for name in names]


def edit_spec(change: Callable[[dict[str, Any]], Any]) -> Damage:
    def damage(root: Path) -> None:
        document = yaml.safe_load((root / "job.yaml").read_text())
        change(document["spec"])
        (root / "job.yaml").write_text(yaml.safe_dump(document, sort_keys=False))

    return damage


def edit_json(name: str, **fields: Any) -> Damage:
    def damage(root: Path) -> None:
        file = root / name
        file.write_text(json.dumps(json.loads(file.read_text()) | fields))

    return damage


def rows(name: str, *rows: Any) -> Damage:
    return lambda root: write_rows(root / name, list(rows))


def truncate(name: str) -> Damage:
    return lambda root: (root / name).write_bytes((root / name).read_bytes()[:-8])


def index(**files: str) -> Damage:
    """The student's weights in shards, of which only one is there."""

    def damage(root: Path) -> None:
        (root / "student/model.safetensors").rename(root / "student/one.safetensors")
        (root / "student/model.safetensors.index.json").write_text(json.dumps({"weight_map": files}))

    return damage


def problems_of(root: Path) -> list[str]:
    try:
        return input_problems(load_job(root / "job.yaml"))
    except InputError as error:
        return list(lines_of(error))


def test_a_job_without_mistakes_has_none(tmp_path: Path) -> None:
    make_folder(tmp_path)
    assert problems_of(tmp_path) == []


@pytest.mark.parametrize(
    ("damage", "line", "said"),
    [
        pytest.param(
            edit_spec(lambda spec: spec["training"].update(learnigRate=1)),
            "learnigRate: 1",
            "spec.training.learnigRate: unknown field: did you mean learningRate?",
            id="unknown field",
        ),
        pytest.param(
            edit_spec(lambda spec: spec["branches"][1].update(name="math")),
            "branches:",
            "spec.branches: 'math' is there 2 times",
            id="two branches of one name",
        ),
        pytest.param(
            edit_spec(lambda spec: spec["merge"]["recipe"][0].update(models=["physics"])),
            "models:",
            "no model 'physics': use one of coding, math, student",
            id="a recipe names a missing branch",
        ),
        pytest.param(
            edit_spec(
                lambda spec: spec["merge"]["recipe"].insert(
                    0, {"name": "first", "method": "arcee_fusion", "base": "coding", "models": ["final"]}
                )
            ),
            "models:",
            "'final' is made by a later step: move that step up",
            id="a recipe comes out of order",
        ),
        pytest.param(
            edit_spec(lambda spec: spec["merge"].pop("recipe")), "merge:", "set exactly one of recipe", id="no recipe"
        ),
        pytest.param(
            edit_spec(lambda spec: spec["evaluation"].update(engine="vllm")),
            "engine:",
            "not supported yet: spec.evaluation.engine: vllm (use transformers)",
            id="not supported yet",
        ),
        pytest.param(remove("data/math.jsonl"), DATA, "'data/math.jsonl' is not there", id="missing data file"),
        pytest.param(remove("eval/house.jsonl"), SUITE, "'eval/house.jsonl' is not there", id="missing suite"),
        pytest.param(write("data/math.jsonl", ""), DATA, "data/math.jsonl: is empty", id="empty data file"),
        pytest.param(
            write("data/math.jsonl", "\n\n"),
            DATA,
            "data/math.jsonl: is empty",
            id="only blank lines",
        ),
        pytest.param(
            write("data/math.jsonl", "{no"),
            DATA,
            "data/math.jsonl:1: is no JSON object",
            id="no JSON",
        ),
        pytest.param(
            rows("data/math.jsonl", {"text": "?"}),
            DATA,
            "math.jsonl:1: has no column 'messages': it has 'text'",
            id="column",
        ),
        pytest.param(
            rows("data/math.jsonl", {"messages": "hello"}),
            DATA,
            "math.jsonl:1: column 'messages' is no list of {role, content}",
            id="a column of another type",
        ),
        pytest.param(
            edit_spec(
                lambda spec: spec["branches"][0]["data"]["sources"][0].update(
                    columns={"prompt": "question", "completion": "answer"}
                )
            ),
            DATA,
            "has no column 'question': it has 'messages'",
            id="columns that the rows do not have",
        ),
        pytest.param(
            edit_spec(lambda spec: spec["branches"][0]["data"]["sources"][0].update(path="data/math.csv")),
            "path: data/math.csv",
            "'data/math.csv' is not there",
            id="a source that is not there",
        ),
        pytest.param(
            rows("eval/house.jsonl", question(1), {"prompt": "?", "answer": "!"}),
            SUITE,
            "house.jsonl:2: 'id' is None",
            id="a question without id",
        ),
        pytest.param(
            rows("eval/house.jsonl", question(1), question(1)),
            SUITE,
            "house.jsonl:2: the id '1' is there twice",
            id="two questions of one id",
        ),
        pytest.param(
            rows("eval/house.jsonl", {"id": "1", "answer": "!"}),
            SUITE,
            "house.jsonl:1: needs exactly one of prompt and messages",
            id="a question without a question",
        ),
        pytest.param(
            edit_spec(lambda spec: spec["student"].update(model="./models/none")),
            "model: ./models/none",
            "spec.student.model: './models/none' is not there",
            id="no student",
        ),
        pytest.param(remove("student/config.json"), MODEL, "student/config.json: is missing", id="no config.json"),
        pytest.param(
            write("student/config.json", "{"),
            MODEL,
            "student/config.json: is no JSON",
            id="broken config.json",
        ),
        pytest.param(
            remove("student/tokenizer.json"),
            MODEL,
            "student: no tokenizer (tokenizer.json)",
            id="no tokenizer",
        ),
        pytest.param(
            edit_json("student/config.json", vocab_size=3),
            MODEL,
            "the tokenizer's largest token id is 3, but config.json has vocab_size 3",
            id="a tokenizer of another model",
        ),
        pytest.param(remove("student/tokenizer_config.json"), MODEL, "has no chat template", id="no chat template"),
        pytest.param(
            remove("student/model.safetensors"),
            MODEL,
            "no weights as safetensors (none found)",
            id="no weights",
        ),
        pytest.param(truncate("student/model.safetensors"), MODEL, "but its header says", id="weights cut off"),
        pytest.param(
            write("student/model.safetensors", "x" * 99),
            MODEL,
            "is no safetensors file",
            id="no safetensors",
        ),
        pytest.param(
            index(embed="one.safetensors", head="two.safetensors"),
            MODEL,
            "two.safetensors: is missing",
            id="a shard is missing",
        ),
    ],
)
def test_one_line_for_a_mistake(tmp_path: Path, damage: Damage, line: str, said: str) -> None:
    file = make_folder(tmp_path)
    damage(tmp_path)
    problems = problems_of(tmp_path)
    assert len(problems) == 1, problems
    assert said in problems[0]
    number = int(problems[0].removeprefix(f"{file}:").partition(":")[0])
    assert line in file.read_text().splitlines()[number - 1]


PROMPTS = {"sources": [{"prompts": {"path": "data/prompts.jsonl"}}]}
BY_NUMBER = {"verify": {"method": "exact"}}
PATTERN = {"verify": {"method": "regex", "pattern": "A|B"}}
GROUP = {"verify": {"method": "regex", "pattern": "(A|B)", "reference": "letter"}}
CODE = {"verify": {"method": "code", "tests": "cases"}}


@pytest.mark.parametrize(
    ("data", "row", "said"),
    [
        pytest.param(PROMPTS, {"prompt": "1 + 1?"}, None, id="prompts"),
        pytest.param(PROMPTS, {"prompt": [{"role": "user", "content": "1 + 1?"}]}, None, id="prompts as messages"),
        pytest.param(PROMPTS, {"question": "?"}, "has no column 'prompt': it has 'question': set prompts.column"),
        pytest.param(PROMPTS, {"prompt": " "}, "column 'prompt' is neither a text nor a list of {role, content}"),
        pytest.param(PROMPTS, {"prompt": []}, "column 'prompt' is neither a text nor a list", id="no messages"),
        pytest.param(PROMPTS | BY_NUMBER, {"prompt": "?", "answer": "2"}, None, id="prompts with answers"),
        pytest.param(
            PROMPTS | BY_NUMBER, {"prompt": "?"}, "has no column 'answer': it has 'prompt': set the columns of verify"
        ),
        pytest.param(PROMPTS | PATTERN, {"prompt": "?"}, None, id="a pattern alone needs no reference"),
        pytest.param(PROMPTS | GROUP, {"prompt": "?"}, "has no column 'letter'", id="a pattern that is compared"),
        pytest.param(PROMPTS | CODE, {"prompt": "?", "answer": "2"}, "has no column 'cases'", id="no tests"),
    ],
)
def test_prompts_are_looked_at_as_rows_are(
    tmp_path: Path, data: dict[str, Any], row: dict[str, Any], said: str | None
) -> None:
    make_folder(tmp_path, {"teacher": TEACHER})
    rows("data/prompts.jsonl", row)(tmp_path)
    edit_spec(lambda spec: spec["branches"][0].update(data=data))(tmp_path)
    problems = problems_of(tmp_path)
    assert len(problems) == (said is not None), problems
    assert said is None or f"spec.branches[0].data.sources[0]: {tmp_path}/data/prompts.jsonl:1: {said}" in problems[0]


def test_prompts_that_are_not_there_are_named_by_their_field(tmp_path: Path) -> None:
    make_folder(tmp_path, {"teacher": TEACHER})
    edit_spec(lambda spec: spec["branches"][0].update(data=PROMPTS))(tmp_path)
    (problem,) = problems_of(tmp_path)
    assert "spec.branches[0].data.sources[0].prompts.path: 'data/prompts.jsonl' is not there" in problem


@pytest.mark.parametrize(
    ("row", "said"),
    [
        pytest.param({"id": "1", "prompt": "?", "tests": {"inputs": ["1"], "outputs": ["2"]}}, None, id="with tests"),
        pytest.param({"id": "1", "prompt": "?", "tests": "[]", "answer": "x"}, None, id="tests as text"),
        pytest.param({"id": "1", "prompt": "?", "answer": "x"}, "'tests' is None: write the tests that", id="without"),
        pytest.param({"prompt": "?", "tests": "[]"}, "'id' is None", id="without an id"),
    ],
)
def test_a_suite_of_code_has_tests(tmp_path: Path, row: dict[str, Any], said: str | None) -> None:
    make_folder(tmp_path)
    rows("eval/house.jsonl", row)(tmp_path)
    suite = Suite(name="house", path="eval/house.jsonl", method="code")
    problem = suite_problem(tmp_path / "eval/house.jsonl", suite)
    assert (problem is None) == (said is None)
    assert said is None or said in str(problem)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("a: [1\nb: 2\n", ":2: no valid YAML", id="syntax"),
        pytest.param("a: 1\na: 2\n", ":2: no valid YAML: found duplicate key", id="duplicate key"),
        pytest.param("a:\n\t- 1\n", ":2: no valid YAML: found character '\\t'", id="tab"),
        pytest.param("- 1\n", ": holds no mapping", id="a list"),
        pytest.param("a: 1\n---\nb: 2\n", ": holds 2 YAML documents", id="two documents"),
        pytest.param("# nothing\n", ": is empty", id="nothing"),
    ],
)
def test_a_file_that_is_no_job(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "job.yaml").write_text(text)
    assert said in problems_of(tmp_path)[0]


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    make_folder(tmp_path)
    remove("data/math.jsonl", "student/config.json")(tmp_path)
    rows("eval/house.jsonl", {"id": "1"})(tmp_path)
    assert len(problems_of(tmp_path)) == 3


def test_numbers_are_read_by_the_rules_of_yaml_1_2(tmp_path: Path) -> None:
    file = make_folder(tmp_path)
    file.write_text(file.read_text().replace("globalBatchSize: 4", "globalBatchSize: 4\n    learningRate: 1e-5"))
    assert load_job(file).job.spec.training.learning_rate == 1e-5


def test_a_date_is_text(tmp_path: Path) -> None:
    file = make_folder(tmp_path)
    file.write_text(file.read_text().replace(MODEL, "model: student\n    revision: 2024-12-01"))
    assert load_job(file).job.spec.student.revision == "2024-12-01"


def test_a_template_of_the_trainer_needs_none_of_the_student_unless_it_is_evaluated(tmp_path: Path) -> None:
    make_folder(
        tmp_path,
        {
            "training": {"globalBatchSize": 4, "chatTemplate": {"training": "r1-distill"}},
            "evaluation": {
                "models": ["merged"],
                "suites": [{"name": "house", "path": "eval/house.jsonl", "method": "exact"}],
            },
        },
    )
    remove("student/tokenizer_config.json")(tmp_path)
    assert problems_of(tmp_path) == []


def test_a_path_may_lie_on_the_volume_of_a_cluster(tmp_path: Path) -> None:
    file = make_folder(tmp_path)
    remove("data/math.jsonl")(tmp_path)
    assert input_problems(load_job(file), may_be_elsewhere=True) == []


@pytest.mark.parametrize(
    ("resources", "gpus", "said"),
    [
        pytest.param({"gpusPerNode": 2}, 1, "spec.resources.gpusPerNode: 1 x 2 GPUs, but this machine has 1", id="few"),
        pytest.param({"gpusPerNode": 1, "nodes": 2}, 2, None, id="two nodes share the machine's"),
        pytest.param({}, 0, None, id="none are asked for"),
    ],
)
def test_accelerators_that_are_not_there(
    tmp_path: Path, resources: dict[str, int], gpus: int, said: str | None
) -> None:
    file = make_folder(tmp_path, {"resources": resources})
    machine = Machine(2, 1 << 30, tuple(str(number) for number in range(gpus)))
    problems = machine_problems(load_job(file), machine)
    assert len(problems) == (said is not None)
    assert said is None or said in problems[0]


def test_fields_of_a_cluster_are_named(tmp_path: Path) -> None:
    file = make_folder(
        tmp_path,
        {
            "resources": {"pool": "h800", "memory": "16Gi"},
            "workspace": {"persistentVolumeClaim": {"claimName": "models"}},
            "deletionPolicy": "Retain",
        },
    )
    edit_spec(lambda spec: spec["branches"][1]["data"].update(resources={"cpu": 16}))(tmp_path)
    assert cluster_only(load_job(file).job.spec) == [
        "spec.resources.pool",
        "spec.resources.memory",
        "spec.branches[1].data.resources.cpu",
        "spec.workspace.persistentVolumeClaim",
        "spec.deletionPolicy",
    ]


def test_the_size_of_a_model_is_read_from_its_headers(tmp_path: Path) -> None:
    make_folder(tmp_path)
    facts = model_facts(tmp_path / "student")
    assert facts is not None
    assert (facts.parameters, facts.bytes) == (32, 128)


def test_a_place_that_takes_no_folders_is_one_message() -> None:
    with pytest.raises(InputError, match="/proc/run: no folder can be made here: choose another one"):
        prepare_folder(Path("/proc/run"))
