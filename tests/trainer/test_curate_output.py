"""What a curation writes: rows, their digest, the funnel, the data card."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from datasets import load_dataset

from branchmerge.api.data import DataSpec
from branchmerge.api.stage import CurateTask
from branchmerge_trainer.curate.candidates import Candidate, Drop
from branchmerge_trainer.curate.card import write_card
from branchmerge_trainer.curate.dataset import DIGEST_FILE, ROWS_FILE, RowsWriter, read_messages
from branchmerge_trainer.curate.funnel import FUNNEL_FILE, Funnel
from curation import candidate, rows


def write(folder: Path, candidates: Iterable[Candidate]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    with RowsWriter(folder) as writer:
        for each in candidates:
            writer.add(each)
    return folder


def test_rows_come_back_as_they_were_written(tmp_path: Path) -> None:
    candidates = [
        candidate("ä\n\u2028?", "🙂", source=1, row=2**40, sample=3),
        Candidate(0, 1, [{"role": "system", "content": ""}, *candidate("a", "b").messages]),
    ]

    folder = write(tmp_path, candidates)

    assert list(read_messages(folder / ROWS_FILE)) == [each.messages for each in candidates]
    table = pq.read_table(folder / ROWS_FILE).to_pydict()
    assert [table[name] for name in ("source", "row", "sample")] == [[1, 0], [2**40, 1], [3, 0]]


def test_any_reader_of_data_sets_takes_the_rows(tmp_path: Path) -> None:
    folder = write(tmp_path / "out", [candidate("1+1=", "2")])

    loaded = load_dataset("parquet", data_files=str(folder / ROWS_FILE), split="train", cache_dir=str(tmp_path))

    assert loaded[0]["messages"] == candidate("1+1=", "2").messages


def test_equal_rows_are_equal_bytes(tmp_path: Path) -> None:
    candidates = [candidate("why? " * (number % 50), f"{number}", row=number) for number in range(20_000)]

    first, second = write(tmp_path / "a", candidates), write(tmp_path / "b", iter(candidates))

    assert (first / ROWS_FILE).read_bytes() == (second / ROWS_FILE).read_bytes()
    assert pq.ParquetFile(first / ROWS_FILE).metadata.num_row_groups == 3


DIFFERENT = {
    "another answer": (rows("a", "b"), rows("a", "c"), False),
    "another order": (rows("a", "b"), rows("b", "a"), False),
    "a row more": (rows("a"), rows("a", "a"), False),
    "text on the other side of a border": (rows("ab", "c"), rows("a", "bc"), False),
    "another place in the source": (rows("a"), [replace(rows("a")[0], row=9, source=1)], True),
}


@pytest.mark.parametrize("case", DIFFERENT)
def test_the_digest_is_that_of_the_messages(case: str, tmp_path: Path) -> None:
    first, second, equal = DIFFERENT[case]

    digests = [(write(tmp_path / name, each) / DIGEST_FILE).read_text() for name, each in (("a", first), ("b", second))]

    assert (digests[0] == digests[1]) is equal


def test_long_rows_end_a_row_group(tmp_path: Path) -> None:
    folder = write(tmp_path, rows(*["x" * (5 << 20)] * 8))

    assert pq.ParquetFile(folder / ROWS_FILE).metadata.num_row_groups == 2


def test_rows_are_read_piece_by_piece(tmp_path: Path) -> None:
    folder = write(tmp_path, (candidate("why?", f"{number} {'x' * 20_000}", row=number) for number in range(5000)))
    before = pa.total_allocated_bytes()

    allocated = max(pa.total_allocated_bytes() - before for _ in read_messages(folder / ROWS_FILE))

    assert allocated < 20_000_000, "of a hundred million"


def short_ones(candidates: Iterable[Candidate], *, drop: Drop) -> Iterator[Candidate]:
    for each in candidates:
        if each.characters < 20:
            yield each
        else:
            drop("too long", each, f"{each.characters} characters")


def twice(candidates: Iterable[Candidate], *, drop: Drop) -> Iterator[Candidate]:
    """Asks for two samples, the second of which fails for the first row."""
    for each in candidates:
        yield each
        if each.row == 1:
            drop("no answer", replace(each, sample=1))
        else:
            yield replace(each, sample=1)


def forgetful(candidates: Iterable[Candidate], *, drop: Drop) -> Iterator[Candidate]:
    yield from list(candidates)[1:]


def test_the_funnel_accounts_for_every_row(tmp_path: Path) -> None:
    funnel = Funnel()
    asked = funnel.through("answer", rows("a", "b" * 300, "c"), twice, becomes=lambda _: 2)
    kept = list(funnel.through("limit", asked, short_ones))

    funnel.write(tmp_path)

    assert [(each.row, each.sample) for each in kept] == [(1, 0), (3, 0), (3, 1)]
    assert funnel.dropped == {"no answer": 1, "too long": 2}
    answer, limit = json.loads((tmp_path / FUNNEL_FILE).read_text())["steps"]
    assert [answer[name] for name in ("name", "in", "added", "out")] == ["answer", 3, 3, 5]
    assert [limit[name] for name in ("name", "in", "added", "out")] == ["limit", 5, 0, 3]
    assert limit["dropped"]["too long"] == {
        "rows": 2,
        "examples": [
            {
                "source": 0,
                "row": 2,
                "sample": 0,
                "prompt": "why?",
                "answer": "…" + "b" * 199,
                "detail": "304 characters",
            }
        ],  # not the other answer to the same prompt
    }


def test_the_first_three_of_each_reason_are_shown(tmp_path: Path) -> None:
    funnel = Funnel()
    list(funnel.through("limit", rows(*["b" * 30] * 10), short_ones))

    funnel.write(tmp_path)

    (step,) = json.loads((tmp_path / FUNNEL_FILE).read_text())["steps"]
    assert step["dropped"]["too long"]["rows"] == 10
    assert [example["row"] for example in step["dropped"]["too long"]["examples"]] == [1, 2, 3]


def test_a_filter_that_loses_a_row_is_found_out(tmp_path: Path) -> None:
    funnel = Funnel()
    list(funnel.through("lossy", rows("a", "b"), forgetful))

    with pytest.raises(AssertionError, match="lossy: 2 came, 1 left, 0 dropped"):
        funnel.write(tmp_path)


def test_the_card_says_what_the_rows_are_and_where_they_come_from(tmp_path: Path) -> None:
    data = DataSpec.model_validate(
        {
            "sources": [
                {"dataset": {"repo": "open-r1/OpenR1-Math-220k", "config": "default", "revision": "4b1d"}},
                {"prompts": {"path": "s3://bucket/a|b.jsonl"}},
            ],
            "require": {"languages": ["en"]},
        }
    )
    funnel = Funnel()
    with RowsWriter(tmp_path) as writer:
        for each in funnel.through("limit", [*rows("a", "b" * 30), candidate("?", source=1)], short_ones):
            writer.add(each)

    write_card(tmp_path, "demo", CurateTask(branch="math", data=data), funnel, writer)

    _, header, text = (tmp_path / "README.md").read_text().split("---\n", 2)
    metadata = yaml.safe_load(header)
    assert metadata["configs"] == [{"config_name": "default", "data_files": ROWS_FILE}]
    assert metadata["size_categories"] == ["n<1K"]
    assert metadata["source_datasets"] == ["extended|open-r1/OpenR1-Math-220k"]
    assert metadata["language"] == ["en"]
    assert "license" not in metadata
    assert "| 0 | `open-r1/OpenR1-Math-220k (default, train)` | `4b1d` | complete rows | 1 |" in text
    assert r"| 1 | `s3://bucket/a\|b.jsonl` | – | prompts | 1 |" in text
    assert "| limit | 3 | 0 | 2 | 1 too long |" in text
    assert "add `license:`" in text
