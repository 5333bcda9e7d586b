from __future__ import annotations

from pathlib import Path

import pytest

from sammoe_pipeline.atomic import atomic_folder, atomic_path, write_bytes, write_text


def test_a_finished_file_is_alone_in_its_place(tmp_path: Path) -> None:
    write_text(tmp_path / "new" / "folder" / "note.txt", "Größe")
    assert [path.name for path in (tmp_path / "new" / "folder").iterdir()] == ["note.txt"]
    assert (tmp_path / "new" / "folder" / "note.txt").read_bytes() == "Größe".encode()


def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "weights.bin"
    write_bytes(path, b"old")
    with atomic_path(path) as temporary:
        temporary.write_bytes(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("interruption", [ValueError, KeyboardInterrupt])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, interruption: type[BaseException]) -> None:
    path = tmp_path / "weights.bin"
    write_bytes(path, b"old")
    with pytest.raises(interruption), atomic_path(path) as temporary:
        temporary.write_bytes(b"half")
        raise interruption
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_temporary_name_keeps_the_ending_and_is_hidden(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "case.nii.gz") as temporary:
        temporary.touch()
        assert temporary.name.endswith("case.nii.gz")
        assert temporary.name.startswith(".")
        assert temporary.parent == tmp_path


def test_a_finished_folder_is_alone_in_its_place(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "new" / "model") as temporary:
        (temporary / "weights").touch()
        assert not (tmp_path / "new" / "model").exists()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["model"]
    assert (tmp_path / "new" / "model" / "weights").is_file()


@pytest.mark.parametrize("interruption", [ValueError, KeyboardInterrupt])
def test_a_folder_that_failed_leaves_nothing(tmp_path: Path, interruption: type[BaseException]) -> None:
    with pytest.raises(interruption), atomic_folder(tmp_path / "model") as temporary:
        (temporary / "weights").touch()
        raise interruption
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_there_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "old").touch()
    with pytest.raises(OSError, match="model"), atomic_folder(tmp_path / "model") as temporary:
        (temporary / "new").touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["model", "old"]
