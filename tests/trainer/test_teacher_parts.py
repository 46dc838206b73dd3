"""The parts that asking is made of: the log on disk, waits, prices."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from branchmerge.api.endpoint import Prices
from branchmerge.api.errors import InputError
from branchmerge_trainer.curate.teacher.budget import cost_of
from branchmerge_trainer.curate.teacher.keys import Key, digest_of
from branchmerge_trainer.curate.teacher.log import AnswerLog, Entry
from branchmerge_trainer.curate.teacher.reply import Usage
from branchmerge_trainer.curate.teacher.retries import is_transient, retry_after, wait_seconds

DIGEST = digest_of([{"role": "user", "content": "1+1="}])
NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


def entry(sample: int, answer: str | None = "2\u2028\n", **more: str) -> Entry:
    return Entry(DIGEST, sample, 7, Usage(10, 20), finish_reason="stop", answer=answer, **more)


def write(folder: Path, *entries: Entry, shard_bytes: int = 1 << 30) -> bytes:
    with AnswerLog(folder, shard_bytes) as log:
        for each in entries:
            log.append(each)
    return (folder / "answers-00000.jsonl").read_bytes()


def test_a_log_has_what_was_appended(tmp_path: Path) -> None:
    write(tmp_path, entry(0), entry(1, "3"), entry(2, None, fault="timed out", detail="nothing for 600 s"))
    with AnswerLog(tmp_path) as log:
        assert len(log) == 2
        assert log[Key(DIGEST, 0)] == entry(0)
        assert log[Key(DIGEST, 1)].answer == "3"
        assert Key(DIGEST, 2) not in log, "what failed is asked again"
        assert log.spent == Usage(30, 60)


def test_shards_are_bounded_and_read_as_one(tmp_path: Path) -> None:
    write(tmp_path, *(entry(sample, f"{sample}") for sample in range(10)), shard_bytes=300)
    assert len(list(tmp_path.glob("answers-*.jsonl"))) == 5
    write(tmp_path, entry(10, "10"), shard_bytes=300)
    with AnswerLog(tmp_path) as log:
        assert [log[Key(DIGEST, sample)].answer for sample in range(11)] == [f"{sample}" for sample in range(11)]


def test_a_torn_last_line_is_taken_out_wherever_it_is_torn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = write(tmp_path, entry(0), entry(1))
    path, first = tmp_path / "answers-00000.jsonl", content.index(b"\n") + 1
    for length in range(first, len(content)):
        path.write_bytes(content[:length])
        whole = length >= len(content) - 1  # then only the end of the line is missing
        with AnswerLog(tmp_path) as log:
            assert len(log) == 1 + whole
            log.append(entry(2, "after"))
        told = capsys.readouterr().err
        assert ("torn the last line" in told) is (first < length and not whole)
        with AnswerLog(tmp_path) as log:
            assert log[Key(DIGEST, 2)].answer == "after"
            assert len(log) == 2 + whole


def test_a_line_that_is_no_entry_is_named(tmp_path: Path) -> None:
    content = write(tmp_path, entry(0))
    (tmp_path / "answers-00000.jsonl").write_bytes(content + b"{}\n" + content)
    with pytest.raises(InputError, match=rf"answers-00000.jsonl: the line at byte {len(content)} is no entry"):
        AnswerLog(tmp_path)
    (tmp_path / "answers-00000.jsonl").write_bytes(content)
    with AnswerLog(tmp_path) as log:  # the failed one holds no lock
        assert len(log) == 1


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        pytest.param({}, None, id="nothing"),
        pytest.param({"retry-after": "12"}, 12.0, id="seconds"),
        pytest.param({"retry-after": "1.5"}, 1.5, id="parts of seconds"),
        pytest.param({"retry-after": "Thu, 01 Jan 2026 12:00:30 GMT"}, 30.0, id="a date"),
        pytest.param({"retry-after": "Thu, 01 Jan 2026 11:00:30 GMT"}, 0.0, id="a date that is over"),
        pytest.param({"retry-after-ms": "250", "retry-after": "9"}, 0.25, id="milliseconds"),
        pytest.param({"retry-after": "86400"}, 3600.0, id="too long"),
        pytest.param({"retry-after": "-5"}, 0.0, id="below zero"),
        pytest.param({"retry-after": "nan"}, None, id="not a number"),
        pytest.param({"retry-after": "soon"}, None, id="something else"),
    ],
)
def test_what_an_endpoint_asks_for_is_understood(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, NOW) == seconds


def test_waits_grow_and_are_spread() -> None:
    rng = random.Random(1)
    for tries, longest in [(1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (500, 60)]:
        waits = [wait_seconds(tries, None, rng) for _ in range(100)]
        assert longest / 2 <= min(waits) < max(waits) <= longest
    assert all(10.0 <= wait_seconds(1, 10.0, rng) <= 15.0 for _ in range(100))
    assert wait_seconds(1, 0.0, rng) == 0.0
    assert all(30.0 <= wait_seconds(8, 0.0, rng) <= 60.0 for _ in range(100)), "who asks for too little is not obeyed"


def test_what_may_pass_is_told_from_what_will_not() -> None:
    for_now, for_good = (408, 409, 425, 429, 500, 503, 529), (400, 401, 403, 404, 413, 422)
    assert all(map(is_transient, for_now))
    assert not any(map(is_transient, for_good))


def test_costs_are_exact() -> None:
    prices = Prices(input_per_million="0.14", output_per_million="2.19")
    assert cost_of(Usage(1_000_000, 500_000), prices) == Decimal("1.235")
    assert cost_of(Usage(1, 1), None) == 0


def test_digests_tell_conversations_apart() -> None:
    user, system = {"role": "user", "content": "a"}, {"role": "system", "content": "a"}
    conversations = [[user], [system], [user, user], [{"role": "user", "content": "aa"}], [system, user]]
    assert len(set(map(digest_of, conversations))) == len(conversations)
    seeds = {Key(digest_of([user]), sample).seed(base) for sample in range(100) for base in range(10)}
    assert len(seeds) == 1000
    assert max(seeds) < 2**31
