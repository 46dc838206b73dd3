"""Models at an fsspec URI are copied into the workspace once, whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from branchmerge.api.errors import InputError
from branchmerge.api.stage import ModelRef
from branchmerge_trainer.models import model_folder
from branchmerge_trainer.workspace import Workspace

STUDENT = ModelRef(name="student", model="memory://store/student")
FILES = {"config.json": b"{}", "model.safetensors": b"weights", "additional_chat_templates/tool.jinja": b"{{ x }}"}
UNWANTED = {"pytorch_model.bin": b"a pickle", "modeling.py": b"code"}


@pytest.fixture
def store() -> Iterator[fsspec.AbstractFileSystem]:
    """An object store with a model in it."""
    memory = fsspec.filesystem("memory")
    for name, content in {**FILES, **UNWANTED}.items():
        memory.pipe_file(f"/store/student/{name}", content)
    yield memory
    memory.store.clear()


def test_weights_configuration_and_templates_are_copied_but_no_code(store: object, tmp_path: Path) -> None:
    folder = model_folder(STUDENT, Workspace(tmp_path, tmp_path))
    assert {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()} == FILES


def test_a_model_is_copied_once(store: fsspec.AbstractFileSystem, tmp_path: Path) -> None:
    first = model_folder(STUDENT, Workspace(tmp_path, tmp_path))
    store.store.clear()
    assert model_folder(STUDENT, Workspace(tmp_path, tmp_path)) == first


def test_who_needs_no_weights_copies_none_and_leaves_them_to_whoever_does(store: object, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, tmp_path)

    folder = model_folder(STUDENT, workspace, weights=False)

    assert (folder / "config.json").exists()
    assert not (folder / "model.safetensors").exists()
    assert (model_folder(STUDENT, workspace) / "model.safetensors").exists()


def test_what_a_killed_copy_left_is_no_model(store: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = Workspace(tmp_path, tmp_path)

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(type(store), "get_file", die)
        with pytest.raises(KeyboardInterrupt):
            model_folder(STUDENT, workspace)
    assert (model_folder(STUDENT, workspace) / "model.safetensors").read_bytes() == b"weights"


def test_a_folder_without_a_model_is_named(store: fsspec.AbstractFileSystem, tmp_path: Path) -> None:
    store.pipe_file("/store/empty/notes.md", b"nothing")
    with pytest.raises(InputError, match=r"student: memory://store/empty: no files of a model"):
        model_folder(ModelRef(name="student", model="memory://store/empty"), Workspace(tmp_path, tmp_path))
