import errno
import os

import pytest

from likeness.errors import UserError
from likeness.files import atomic_open, atomic_path, require_free_space, write_text


def test_interrupted_write_leaves_old_content_and_no_scrap(tmp_path):
    target = tmp_path / "a.txt"
    write_text(target, "old")
    with pytest.raises(ValueError), atomic_open(target) as stream:
        stream.write("new")
        raise ValueError
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize(("code", "words"), [(errno.ENOSPC, "disk is full"), (errno.EROFS, "cannot be written")])
def test_full_disk_and_read_only_folder_are_named(tmp_path, monkeypatch, code, words):
    def refuse(handle):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(UserError, match=words), atomic_path(tmp_path / "b.png") as temporary:
        temporary.write_bytes(b"x")
    assert list(tmp_path.iterdir()) == []


def test_free_space_is_checked_before_work(tmp_path):
    with pytest.raises(UserError, match="make room"):
        require_free_space(tmp_path / "not" / "yet", 10**18, "the capture")
