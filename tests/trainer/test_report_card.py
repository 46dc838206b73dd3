"""The model card: its metadata as the Hub reads it, and its text."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard
from huggingface_hub.repocard_data import model_index_to_eval_results

from branchmerge_trainer.report.markdown import code, plain, table
from builders import REMOVED
from reporting import FinishedJob

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def card_of(job: FinishedJob) -> ModelCard:
    job.write_report()
    return ModelCard(job.read("README.md"))


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> ModelCard:
    root = tmp_path_factory.mktemp("job")
    return card_of(FinishedJob(root, {"student.model": "acme/student"}, pins={"student": COMMIT}))


def test_the_metadata_say_what_the_model_was_made_from(card: ModelCard) -> None:
    assert card.data.base_model == "acme/student"
    assert card.data.datasets == ["acme/science"]
    assert card.data.tags == ["mergekit", "merge", "branch-merge-distillation", "arcee_fusion"]
    assert (card.data.library_name, card.data.pipeline_tag) == ("transformers", "text-generation")


def test_a_licence_is_never_invented(card: ModelCard) -> None:
    assert card.data.license is None
    assert "add `license:`" in card.text


def test_the_scores_on_test_suites_are_in_the_index(card: ModelCard) -> None:
    [result] = card.data.eval_results  # the suite `guide` has the role Validation
    assert (result.dataset_name, result.metric_type, result.metric_value) == ("house", "pass@1", 0.7)


def test_the_metadata_are_plain_yaml_that_reads_back_the_same(card: ModelCard) -> None:
    front = yaml.safe_load(card.content.split("---")[1])
    name, results = model_index_to_eval_results(front["model-index"])
    assert (name, results) == ("tiny", card.data.eval_results)
    assert ModelCard(str(card)).data.to_dict() == card.data.to_dict()


@pytest.mark.parametrize(
    "line",
    [
        (
            "**The merged model beats the student on house +0.300, with its interval clear of zero; "
            "it loses to the best specialist on house.**"
        ),
        "[acme/student](https://huggingface.co/acme/student)",
        "| `merged` | 0.700 [0.633, 0.759]<br>**+0.300 [+0.236, +0.364]** |",
        "| house | `specialist/math` | **-0.200 [-0.256, -0.144]** |",
        "| house | passed | gain 0.300 >= 0.02 |",
        "| `final` | `arcee_fusion` | math-science | coding | – | 32.5% |",
        "| steps | 20 | 20 | 20 |",
        "| `learningRate` | 1e-05 | 1e-05 | 1e-05 |",
        "| science | 100 | – | – | 10 empty (curate), 3 overlong (train) | 87 | 10% of each batch from math |",
        f"| student | `acme/student` | `{COMMIT}` |",
        "AutoModelForCausalLM.from_pretrained",
    ],
)
def test_the_card_tells(line: str, card: ModelCard) -> None:
    assert line in card.text


def test_a_student_that_lies_in_the_workspace_is_no_model_of_the_hub(tmp_path: Path) -> None:
    (tmp_path / "models/student").mkdir(parents=True)
    assert card_of(FinishedJob(tmp_path)).data.base_model is None


def test_a_student_known_by_its_content_is_no_model_of_the_hub(tmp_path: Path) -> None:
    assert card_of(FinishedJob(tmp_path, pins={"student": "sha256:ab"})).data.base_model is None


def test_a_job_without_an_evaluation_has_no_index(tmp_path: Path) -> None:
    card = card_of(FinishedJob(tmp_path, {"evaluation": REMOVED}))
    assert card.data.eval_results is None
    assert "## Scores" not in card.text
    assert "Nothing was measured" in card.text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("cosine_with_min_lr", "cosine_with_min_lr"),
        ("[0.1, 0.2]", "[0.1, 0.2]"),
        ("[a](http://evil)", "[a]\\(http://evil)"),
        ("*a* _b_ `c`", "\\*a\\* \\_b\\_ \\`c\\`"),
        ("a | b\nc", "a \\| b c"),
        ("<b>", "\\<b>"),
        ("# heading", "\\# heading"),
    ],
)
def test_text_is_shown_as_it_is(text: str, shown: str) -> None:
    assert plain(text) == shown


def test_nothing_breaks_out_of_a_cell() -> None:
    assert table(["a"], [[code("x`|\ny")]]) == "| a |\n| --- |\n| `x'\\| y` |"
