"""Files are written whole or not at all, and an error says what to do."""

import contextlib
import resource

import pytest
import safetensors.torch
import torch
from safetensors import SafetensorError

from bdlcore._support import files


@contextlib.contextmanager
def disk_of(size):
    """Files cannot get longer than so many bytes, which fails as a full disk does: while they are written."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def numbers(n):
    return {"a": torch.arange(n)}


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("kind", ["tensors", "json"])
def test_where_the_disk_is_full_the_file_before_stays(tmp_path, before, kind):
    path = tmp_path / "file"

    def save(n):
        return (
            files.save(path, "numbers", numbers(n))
            if kind == "tensors"
            else files.save_json(path, {"a": [0] * n})
        )

    if before:
        save(3)
    held = path.read_bytes() if before else None
    with disk_of(2000), pytest.raises(OSError, match="could not be written .*Free space on its disk") as told:
        save(10_000)
    assert ("What it held before is still there" in str(told.value)) == before
    assert [f.name for f in tmp_path.iterdir()] == ["file"] * before
    assert not before or path.read_bytes() == held
    save(10_000)
    assert path.stat().st_size > 20_000


def test_the_systems_word_stays_in_the_error(tmp_path, monkeypatch):
    def refused(tensors, path, metadata):
        raise SafetensorError("I/O error: Permission denied (os error 13)")

    with pytest.raises(FileNotFoundError, match="There is no folder .*none to write file to. Make it first"):
        files.save(tmp_path / "none" / "file", "numbers", numbers(3))
    monkeypatch.setattr(safetensors.torch, "save_file", refused)
    with pytest.raises(OSError, match="Permission denied.*see to its permissions"):
        files.save(tmp_path / "file", "numbers", numbers(3))
    monkeypatch.setattr(
        "pathlib.Path.replace", lambda *_: (_ for _ in ()).throw(PermissionError(13, "Denied"))
    )
    with pytest.raises(PermissionError, match="could not be written .*Denied"):
        files.save_json(tmp_path / "file", {})
    assert not [*tmp_path.iterdir()]


def test_tensors_that_share_memory_are_saved_and_others_are_not_copied(tmp_path, monkeypatch):
    whole = torch.arange(12.0).view(3, 4)
    tensors = {"whole": whole, "row": whole[1], "column": whole[:, 1], "same": whole, "alone": torch.ones(5)}
    given, save_file = [], safetensors.torch.save_file

    def save(tensors, path, metadata):
        given.append(tensors)
        save_file(tensors, path, metadata)

    monkeypatch.setattr(safetensors.torch, "save_file", save)
    files.save(tmp_path / "file", "numbers", tensors, {"n": 1})
    found, facts = files.load(tmp_path / "file", "numbers")
    assert facts == {"n": 1} and all(torch.equal(found[name], value) for name, value in tensors.items())
    assert given[0]["alone"].data_ptr() == tensors["alone"].data_ptr()
    assert given[0]["whole"].data_ptr() == whole.data_ptr()


def test_a_file_of_several_kinds_says_which(tmp_path):
    files.save(tmp_path / "file", "numbers", numbers(3))
    assert files.load(tmp_path / "file", "letters", "numbers")[1] == {"kind": "numbers"}
    with pytest.raises(ValueError, match="holds no letters"):
        files.load(tmp_path / "file", "letters")
