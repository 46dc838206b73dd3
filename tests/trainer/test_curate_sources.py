"""Where rows come from, and the shapes that they come in."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from branchmerge.api.data import DataSpec
from branchmerge.api.errors import InputError
from branchmerge_trainer.curate.candidates import Candidate
from branchmerge_trainer.curate.funnel import Funnel
from branchmerge_trainer.curate.reading import Reader
from branchmerge_trainer.failures import TransientError
from branchmerge_trainer.workspace import Workspace

ROW = {"messages": [{"role": "user", "content": "1+1="}, {"role": "assistant", "content": "2"}]}


def read(folder: Path, *sources: dict[str, Any]) -> tuple[list[Candidate], dict[str, int]]:
    """What the sources have to offer, and what was dropped of it."""
    reader = Reader("math", DataSpec.model_validate({"sources": list(sources)}), Workspace(folder, folder))
    funnel = Funnel()
    candidates = list(funnel.through("read", reader.rows(), reader.shaped))
    funnel.steps[0].check()
    return candidates, funnel.dropped


def lines(*rows: Any) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def parquet(path: Path, rows: list[dict[str, Any]], **settings: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path, **settings)


@pytest.fixture
def places(tmp_path: Path) -> Iterator[Path]:
    """The same row at every kind of place."""
    (tmp_path / "rows.jsonl").write_bytes(lines(ROW))
    (tmp_path / "rows.jsonl.gz").write_bytes(gzip.compress(lines(ROW)))
    parquet(tmp_path / "rows.parquet", [ROW])
    parquet(tmp_path / "hub" / "data" / "train-00000.parquet", [ROW])
    memory = fsspec.filesystem("memory")
    memory.pipe("/bucket/rows.jsonl", lines(ROW))
    memory.pipe("/bucket/rows.parquet", (tmp_path / "rows.parquet").read_bytes())
    yield tmp_path
    memory.rm("/bucket", recursive=True)


@pytest.mark.parametrize(
    "source",
    [
        {"path": "rows.jsonl"},
        {"path": "rows.jsonl.gz"},
        {"path": "rows.parquet"},
        {"path": "memory://bucket/rows.jsonl"},
        {"path": "memory://bucket/rows.parquet"},
        {"path": "file://{folder}/rows.jsonl"},
        {"dataset": {"repo": "{folder}/hub"}},
    ],
    ids=str,
)
def test_a_row_is_the_same_from_every_place(source: dict[str, Any], places: Path) -> None:
    candidates, dropped = read(places, json.loads(json.dumps(source).replace("{folder}", str(places))))

    assert candidates == [Candidate(0, 1, ROW["messages"])]
    assert dropped == {}


PROMPTS = {
    "a text": ({"prompt": "1+1="}, {}, [{"role": "user", "content": "1+1="}], {}),
    "a column of another name": (
        {"q": "1+1=", "prompt": 3}, {"column": "q"}, [{"role": "user", "content": "1+1="}], {"prompt": 3},
    ),
    "messages": (
        {"prompt": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "1+1="}], "answer": "2"},
        {},
        [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "1+1="}],
        {"answer": "2"},
    ),
    "tests and choices beside it": (
        {"prompt": "Sum?", "tests": {"inputs": ["1 1"], "outputs": ["2"]}, "choices": ["1", "2"]},
        {},
        [{"role": "user", "content": "Sum?"}],
        {"tests": {"inputs": ["1 1"], "outputs": ["2"]}, "choices": ["1", "2"]},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", PROMPTS)
@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_prompts_end_with_the_question_and_keep_their_other_columns(case: str, form: str, tmp_path: Path) -> None:
    row, settings, messages, fields = PROMPTS[case]
    (tmp_path / "rows.jsonl").write_bytes(lines(row))
    parquet(tmp_path / "rows.parquet", [row])

    candidates, _ = read(tmp_path, {"prompts": {"path": f"rows.{form}", **settings}})

    assert [(each.messages, dict(each.fields)) for each in candidates] == [(messages, fields)]


def test_complete_rows_keep_their_other_columns_too(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_bytes(lines({"q": "1+1=", "a": "2", "answer": "2", "id": 7}))

    candidates, _ = read(tmp_path, {"path": "rows.jsonl", "columns": {"prompt": "q", "completion": "a"}})

    assert [dict(each.fields) for each in candidates] == [{"answer": "2", "id": 7}]


UNUSABLE = {
    "empty": {"prompt": []},
    "no question": {"prompt": ROW["messages"]},
    "empty question": {"prompt": " \n"},
    "broken characters": {"prompt": "half of \ud83d"},
}


@pytest.mark.parametrize("reason", UNUSABLE)
def test_prompts_that_ask_nothing_are_dropped(reason: str, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_bytes(lines(UNUSABLE[reason], {"prompt": "1+1="}))

    candidates, dropped = read(tmp_path, {"prompts": {"path": "rows.jsonl"}})

    assert [each.row for each in candidates] == [2]
    assert dropped == {reason: 1}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        pytest.param({"prompt": None, "answer": "2"}, "column 'prompt' is null: write it, or remove", id="no prompt"),
        pytest.param({"prompt": "1+1=", "answer": None}, "column 'answer' is null: write it, or remove", id="null"),
        pytest.param({"prompt": "1+1="}, "column 'answer' is missing (it has no other): add it, or name", id="none"),
    ],
)
def test_a_prompt_whose_answer_could_not_be_judged_is_told_before_anybody_answers_it(
    row: dict[str, Any], message: str, tmp_path: Path
) -> None:
    (tmp_path / "rows.jsonl").write_bytes(lines({"prompt": "1", "answer": "1"}, row))
    data = {"sources": [{"prompts": {"path": "rows.jsonl"}}], "verify": {"method": "exact"}}
    reader = Reader("math", DataSpec.model_validate(data), Workspace(tmp_path, tmp_path))

    with pytest.raises(InputError) as caught:
        list(Funnel().through("read", reader.rows(), reader.shaped))

    assert f"branch math: data.sources[0]: rows.jsonl, row 2: {message}" in str(caught.value)


@pytest.mark.parametrize("before", [[], [{"role": "system", "content": "Be brief."}]], ids=["alone", "system"])
def test_answers_that_nobody_asked_for_are_dropped(before: list[dict[str, str]], tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_bytes(lines({"messages": [*before, ROW["messages"][-1]]}, ROW))

    candidates, dropped = read(tmp_path, {"path": "rows.jsonl"})

    assert [each.row for each in candidates] == [2]
    assert dropped == {"no question": 1}


def test_prompts_over_the_cap_are_not_even_read(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_bytes(lines({"prompt": "1"}, {"prompt": "2"}) + b"no JSON\n")

    candidates, dropped = read(tmp_path, {"prompts": {"path": "rows.jsonl"}, "maxRows": 2})

    assert len(candidates) == 2
    assert dropped == {}


def test_rows_know_their_source(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"\n" + lines(ROW))
    (tmp_path / "b.jsonl").write_bytes(lines(ROW, ROW))

    candidates, _ = read(tmp_path, {"path": "a.jsonl"}, {"path": "b.jsonl"})

    assert [each.prompt for each in candidates] == [(0, 2), (1, 1), (1, 2)]


def test_a_large_row_group_is_read_piece_by_piece(tmp_path: Path) -> None:
    """Half of the file's text would be more than may be in memory."""
    text = "".join(map(chr, range(32, 127))) * 200
    rows = [{"prompt": f"{number} {text}"} for number in range(6000)]
    parquet(tmp_path / "rows.parquet", rows, row_group_size=6000, compression="none", use_dictionary=False)
    del rows
    before = pa.total_allocated_bytes()
    reader = Reader(
        "math",
        DataSpec.model_validate({"sources": [{"prompts": {"path": "rows.parquet"}}]}),
        Workspace(tmp_path, tmp_path),
    )

    allocated = max(pa.total_allocated_bytes() - before for _ in reader.rows())

    assert (tmp_path / "rows.parquet").stat().st_size > 100_000_000
    assert allocated < 30_000_000


@pytest.fixture
def s3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder that a server shows as S3's bucket `bucket`."""
    (tmp_path / "bucket").mkdir()
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        fsspec.filesystem("s3").clear_instance_cache()
        yield tmp_path / "bucket"
        server.shutdown()
    fsspec.filesystem("s3").clear_instance_cache()


def test_rows_come_from_s3(s3: Path) -> None:
    (s3 / "rows.jsonl").write_bytes(lines(ROW))

    candidates, _ = read(s3, {"path": "s3://bucket/rows.jsonl"})

    assert candidates == [Candidate(0, 1, ROW["messages"])]


def test_a_store_that_cannot_be_reached_is_tried_again_later(s3: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")

    with pytest.raises(TransientError, match=r"s3://bucket/rows\.jsonl: EndpointConnectionError: ") as caught:
        read(s3, {"path": "s3://bucket/rows.jsonl"})

    assert "secret" not in str(caught.value)


def test_credentials_that_are_missing_are_the_users_mistake(s3: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")

    with pytest.raises(InputError, match="give the pods the store's credentials"):
        read(s3, {"path": "s3://bucket/rows.jsonl"})


WRONG = {
    "a folder": ({"path": "folder.jsonl"}, InputError, r"folder\.jsonl: is a folder: name a file in it"),
    "a compressed file that was cut": ({"path": "cut.jsonl.gz"}, InputError, r"cut\.jsonl\.gz: cannot be unpacked"),
    "a compressed file that is none": ({"path": "none.jsonl.gz"}, InputError, r"none\.jsonl\.gz: cannot be unpacked"),
    "a compressed file with a broken part": ({"path": "bad.jsonl.gz"}, InputError, "cannot be unpacked.*copy it again"),
    "a row nested too deeply": ({"path": "deep.jsonl"}, InputError, "line 2: is nested too deeply: remove the row"),
    "no Parquet": ({"path": "broken.parquet"}, InputError, "cannot be read as Parquet"),
    "an unknown protocol": ({"path": "nfs2://host/rows.jsonl"}, InputError, "not known: nfs2.*choose another store"),
    "nothing at the URI": ({"path": "memory://none/rows.jsonl"}, InputError, "memory://none/rows.jsonl: not found"),
    "a prompt without its column": ({"prompts": {"path": "rows.jsonl"}}, InputError, "row 1: no column 'prompt'"),
    "a prompt that is a number": (
        {"prompts": {"path": "rows.jsonl", "column": "n"}}, InputError, "row 1: column 'n' is 1, not a list",
    ),
    "no such split": ({"dataset": {"repo": "{folder}/hub", "split": "test"}}, InputError, "correct config and split"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_mistakes_name_field_and_place(case: str, places: Path) -> None:
    source, kind, message = WRONG[case]
    (places / "folder.jsonl").mkdir()
    packed = gzip.compress(lines(*[ROW] * 50))
    (places / "cut.jsonl.gz").write_bytes(packed[:-20])
    (places / "none.jsonl.gz").write_bytes(lines(ROW))
    (places / "bad.jsonl.gz").write_bytes(packed[:12] + b"\xff" * 40 + packed[52:])
    (places / "deep.jsonl").write_bytes(lines(ROW) + b'{"messages": ' + b"[" * 100_000 + b"]" * 100_000 + b"}\n")
    (places / "broken.parquet").write_bytes(b"PAR1 or not")
    (places / "rows.jsonl").write_bytes(lines({"n": 1}))

    with pytest.raises(kind, match=r"branch math: data\.sources\[0\]: .*" + message):
        read(places, json.loads(json.dumps(source).replace("{folder}", str(places))))
