"""Caps, weights and order of the rows of several sources."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from branchmerge.api.data import DataSpec
from branchmerge_trainer.curate.candidates import Candidate
from branchmerge_trainer.curate.mixing import OVER_BRANCH, OVER_SOURCE, Mixer, shares
from curation import Filtered, candidate

SHARES = {
    "equal weights": ([100, 100], [1, 1], 50, [25, 25]),
    "weights that need not sum to one": ([100, 100], [3, 1], 40, [30, 10]),
    "a source with too few rows": ([5, 100, 100], [1, 1, 1], 60, [5, 28, 27]),
    "one after another runs out": ([1, 10, 100], [8, 4, 1], 40, [1, 10, 29]),
    "the largest remainder": ([100, 100, 100], [5, 3, 1], 10, [6, 3, 1]),
    "fewer rows than are wanted": ([3, 4], [1, 9], 100, [3, 4]),
    "a source without rows": ([0, 10], [9, 1], 5, [0, 5]),
    "no rows at all": ([0, 0], [1, 1], 5, [0, 0]),
}


@pytest.mark.parametrize("case", SHARES)
def test_weights_share_the_rows_out(case: str) -> None:
    available, weights, total, expected = SHARES[case]

    assert shares(available, [Fraction(weight) for weight in weights], total) == expected


@given(
    st.lists(st.tuples(st.integers(0, 50), st.fractions(Fraction(1, 100), 100)), min_size=1, max_size=6),
    st.integers(1, 200),
)
def test_shares_are_complete_and_never_more_than_there_is(sources: list[tuple[int, Fraction]], total: int) -> None:
    available, weights = [each[0] for each in sources], [each[1] for each in sources]

    quotas = shares(available, weights, total)

    assert sum(quotas) == min(total, sum(available))
    assert all(0 <= quota <= has for quota, has in zip(quotas, available, strict=True))
    results = list(zip(quotas, available, weights, strict=True))
    for (quota, has, weight), (other, _, its) in itertools.permutations(results, 2):
        if quota < has:  # whoever has rows left got its part, but for one row of rounding
            assert (quota + 1) / weight >= (other - 1) / its


def mix(tmp_path: Path, candidates: list[Candidate], sources: list[dict[str, Any]], **data: Any) -> Filtered:
    described = [{"path": f"{index}.jsonl", **source} for index, source in enumerate(sources)]
    mixer = Mixer(DataSpec.model_validate({"sources": described, **data}), tmp_path / "spool")
    result = Filtered(candidates, mixer.mixed)
    assert not (tmp_path / "spool").exists()
    return result


def of_sources(*counts: int) -> list[Candidate]:
    return [
        candidate(f"{source}: {row}?", source=source, row=row)
        for source, count in enumerate(counts)
        for row in range(1, count + 1)
    ]


def places(candidates: list[Candidate]) -> list[tuple[int, int]]:
    return [each.prompt for each in candidates]


def test_without_weights_and_shuffle_the_first_rows_stay_in_their_order(tmp_path: Path) -> None:
    result = mix(tmp_path, of_sources(4, 4), [{"maxRows": 3}, {}], limits={"maxRows": 5})

    assert places(result.kept) == [(0, 1), (0, 2), (0, 3), (1, 1), (1, 2)]
    assert result.dropped == {OVER_SOURCE: 1, OVER_BRANCH: 2}


def test_weights_take_of_each_source_its_first_rows(tmp_path: Path) -> None:
    result = mix(tmp_path, of_sources(9, 9), [{"weight": 1.0}, {"weight": 2.0}], limits={"maxRows": 6})

    assert places(result.kept) == [(0, 1), (0, 2), (1, 1), (1, 2), (1, 3), (1, 4)]
    assert result.dropped == {OVER_BRANCH: 12}


def test_a_cap_leaves_its_room_to_the_other_sources(tmp_path: Path) -> None:
    sources = [{"weight": 1.0, "maxRows": 1}, {"weight": 1.0}]

    result = mix(tmp_path, of_sources(9, 9), sources, limits={"maxRows": 6})

    assert Counter(each.source for each in result.kept) == {0: 1, 1: 5}
    assert result.dropped == {OVER_SOURCE: 8, OVER_BRANCH: 4}


def test_the_order_of_a_shuffle_depends_on_the_rows_and_not_on_how_they_arrive(tmp_path: Path) -> None:
    candidates = of_sources(50, 50)
    arrived = random.Random(0).sample(candidates, len(candidates))

    first = mix(tmp_path, candidates, [{}, {}], shuffle={"seed": 1}, limits={"maxRows": 40})
    second = mix(tmp_path, arrived, [{}, {}], shuffle={"seed": 1}, limits={"maxRows": 40})
    other = mix(tmp_path, candidates, [{}, {}], shuffle={"seed": 2}, limits={"maxRows": 40})

    assert places(first.kept) == places(second.kept) != sorted(places(first.kept))
    assert set(places(first.kept)) != set(places(other.kept))
    assert 10 < sum(each.source for each in first.kept) < 30, "both sources are among the first"


def test_a_row_more_moves_no_other_row_of_a_shuffle(tmp_path: Path) -> None:
    fewer = places(mix(tmp_path, of_sources(30), [{}], shuffle={}).kept)
    more = places(mix(tmp_path, of_sources(31), [{}], shuffle={}).kept)

    assert [place for place in more if place != (0, 31)] == fewer


def test_rows_come_back_from_the_file_as_they_were(tmp_path: Path) -> None:
    row = Candidate(0, 7, candidate("ä\n\u2028?", '"\\ 🙂').messages, sample=3, tokens=9)

    assert mix(tmp_path, [row], [{}], shuffle={}).kept == [row]


def test_prompts_were_capped_when_they_were_read(tmp_path: Path) -> None:
    result = mix(tmp_path, of_sources(4), [{"path": None, "prompts": {"path": "p.jsonl"}, "maxRows": 2}])

    assert len(result.kept) == 4, "several answers to each of two prompts"
