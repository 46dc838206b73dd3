"""What inputs are resolved to, and that large files are read once."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from branchmerge.api.errors import InputError
from branchmerge.core.inputs import InputRef
from branchmerge.local.pins import PinResolver
from jobfolder import make_student

STUDENT = InputRef("student", "model", "student", "main")
DATA = InputRef("branches/math/sources/0", "file", "math.jsonl")
HUB = InputRef("student", "model", "acme/model", "main")
FIELDS = {"student": "spec.student.model", DATA.name: "spec.branches[0].data.sources[0].path"}


class Reader:
    """Resolves as one command line after the other does, and counts the bytes that each one reads."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.read = 0

    def resolve(self, *refs: InputRef) -> dict[str, str]:
        self.read = 0
        resolver = PinResolver(self.root / "pins.json", self.root, FIELDS)
        original = Path.open

        def counting(path: Path, *args: str, **kwargs: str) -> object:
            if args == ("rb",):
                self.read += path.stat().st_size
            return original(path, *args, **kwargs)  # type: ignore[call-overload]

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Path, "open", counting)
            pins = resolver.resolve(refs)
        resolver.save()
        return pins


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    make_student(tmp_path / "student")
    (tmp_path / "math.jsonl").write_text("{}\n")
    return Reader(tmp_path)


def test_a_file_is_read_once(reader: Reader) -> None:
    first = reader.resolve(DATA)
    assert first[DATA.name].startswith("sha256:")
    assert reader.read == 3
    assert reader.resolve(DATA) == first
    assert reader.read == 0


def test_a_file_that_changed_is_read_again(reader: Reader) -> None:
    first = reader.resolve(DATA)
    (reader.root / "math.jsonl").write_text("[]\n")
    assert reader.resolve(DATA) != first


def test_a_file_that_was_only_touched_has_the_same_digest(reader: Reader) -> None:
    first = reader.resolve(DATA)
    os.utime(reader.root / "math.jsonl", (1, 1))
    assert reader.resolve(DATA) == first
    assert reader.read == 3


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        pytest.param("config.json", True, id="configuration"),
        pytest.param("chat_template.jinja", True, id="a template that was not there"),
        pytest.param("README.md", False, id="prose"),
        pytest.param(".cache/lock.json", False, id="hidden files"),
    ],
)
def test_what_a_model_folder_is(reader: Reader, name: str, counts: bool) -> None:
    first = reader.resolve(STUDENT)
    (reader.root / "student" / name).parent.mkdir(exist_ok=True)
    (reader.root / "student" / name).write_text("{}")
    assert (reader.resolve(STUDENT) != first) == counts


def test_a_moved_folder_is_the_same_model(reader: Reader) -> None:
    first = reader.resolve(STUDENT)
    shutil.copytree(reader.root / "student", reader.root / "copy")
    assert reader.resolve(InputRef("student", "model", "copy", "main")) == first


def test_a_uri_counts_by_its_location(reader: Reader) -> None:
    assert reader.resolve(InputRef("student", "model", "s3://bucket/model", "main")) == {}


def test_what_is_here_wins_over_the_hub(reader: Reader) -> None:
    (reader.root / "acme").mkdir()
    (reader.root / "student").rename(reader.root / "acme" / "model")
    assert reader.resolve(HUB)["student"].startswith("sha256:")


def test_a_commit_is_taken_at_its_word(reader: Reader) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    assert reader.resolve(InputRef("student", "model", "acme/model", commit)) == {"student": commit}


def test_a_branch_of_the_hub_is_resolved_once(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    commits = iter(["a" * 40, "b" * 40])
    monkeypatch.setattr("branchmerge.local.pins.commit_of", lambda *_: next(commits))
    assert reader.resolve(HUB) == reader.resolve(HUB) == {"student": "a" * 40}


def test_offline_the_cache_of_the_hub_knows_the_commit(
    reader: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("huggingface_hub")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(InputError, match=r"spec\.student\.model: 'acme/model' is not here.*go online, or download"):
        reader.resolve(HUB)
    ref = tmp_path / "hub" / "models--acme--model" / "refs" / "main"
    ref.parent.mkdir(parents=True)
    ref.write_text("c" * 40)
    assert reader.resolve(HUB) == {"student": "c" * 40}


def test_every_input_that_is_not_there_is_named(reader: Reader) -> None:
    with pytest.raises(InputError) as raised:
        reader.resolve(InputRef(DATA.name, "file", "none.jsonl"), InputRef("student", "model", "./none", "main"))
    fix = f"is not there: correct it; relative paths start from {reader.root}"
    assert str(raised.value).splitlines() == [
        f"spec.branches[0].data.sources[0].path: 'none.jsonl' {fix}",
        f"spec.student.model: './none' {fix}",
    ]
