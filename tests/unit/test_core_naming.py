"""Names of child objects."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from branchmerge.api.base import DNS_LABEL
from branchmerge.core.naming import child_name, listed, output_folder

FINGERPRINT = "9f2c11aa" + "0" * 56

labels = st.from_regex(DNS_LABEL, fullmatch=True).map(lambda text: text[:40].rstrip("-"))
stages = st.builds("{}/{}".format, st.sampled_from(["curate", "train", "merge", "evaluate/specialist"]), labels)
fingerprints = st.text("0123456789abcdef", min_size=64, max_size=64)


@pytest.mark.parametrize(
    ("job", "stage", "attempt", "name"),
    [
        pytest.param("tiny", "train/math", 2, "tiny-train-math-9f2c11aa-2", id="as-it-is"),
        pytest.param("tiny", "report", 1, "tiny-report-9f2c11aa-1", id="stage-without-a-slash"),
        pytest.param(
            "tiny", "evaluate/specialist/math", 1, "tiny-evaluate-specialist-math-9f2c11aa-1", id="two-slashes"
        ),
        pytest.param("7b", "train/math", 1, "x7b-train-math-9f2c11aa-1", id="a-service-name-begins-with-a-letter"),
        pytest.param("j" * 20, f"train/{'b' * 12}", 1, f"{'j' * 20}-train-{'b' * 12}-9f2c11aa-1", id="exactly-50"),
        pytest.param(
            "j" * 20, f"train/{'b' * 13}", 1, "jjjjjjjjjjjjjjjjjjjj-train-bbb-e58b772e-9f2c11aa-1", id="longer-is-cut"
        ),
    ],
)
def test_child_name(job: str, stage: str, attempt: int, name: str) -> None:
    assert child_name(job, stage, FINGERPRINT, attempt) == name


@given(labels, stages, fingerprints, st.integers(1, 10**6))
def test_every_child_name_is_a_short_dns_label(job: str, stage: str, fingerprint: str, attempt: int) -> None:
    name = child_name(job, stage, fingerprint, attempt)
    assert len(name) <= 50
    assert re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", name)
    assert name.endswith(f"-{fingerprint[:8]}-{attempt}")


def test_names_that_are_cut_alike_still_differ() -> None:
    long = "evaluate/specialist/" + "b" * 38
    names = {child_name("j" * 40, long + end, FINGERPRINT, 1) for end in ("aa", "ab", "ba")}
    assert len(names) == 3


def test_an_output_lies_where_its_stage_and_fingerprint_say() -> None:
    assert output_folder("train/math", FINGERPRINT) == "stages/train/math/9f2c11aa00000000"


@pytest.mark.parametrize(
    ("names", "text"),
    [
        pytest.param(["a"], "a", id="one"),
        pytest.param(["a", "b", "c"], "a, b, c", id="three"),
        pytest.param(["a", "b", "c", "d", "e"], "a, b, c and 2 more", id="five"),
    ],
)
def test_listed(names: list[str], text: str) -> None:
    assert listed(names) == text
