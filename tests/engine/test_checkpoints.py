import os
import pickle

import pytest
import torch

from likeness.engine import Checkpoints, Tag, load_tensors
from likeness.errors import UserError


class Hostile:
    def __reduce__(self):
        return os.mkdir, ("opened",)


def test_a_pickle_that_runs_code_is_refused_and_never_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, protocol in (("a.pkl", 2), ("b.pkl", 4)):
        (tmp_path / name).write_bytes(pickle.dumps(Hostile(), protocol=protocol))
    torch.save({"g": Hostile()}, tmp_path / "c.pth")
    for name in ("a.pkl", "b.pkl", "c.pth"):
        with pytest.raises(UserError, match=name):
            load_tensors(tmp_path / name)
    assert not (tmp_path / "opened").exists()


def test_truncated_missing_and_foreign_files_are_named(tmp_path):
    whole = tmp_path / "whole.pth"
    torch.save({"weight": torch.ones(1000)}, whole)
    (tmp_path / "half.pth").write_bytes(whole.read_bytes()[:600])
    (tmp_path / "half.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{")
    (tmp_path / "text.pth").write_text("hello")
    for name in ("half.pth", "half.safetensors", "text.pth"):
        with pytest.raises(UserError, match=name):
            load_tensors(tmp_path / name)
    with pytest.raises(UserError, match="no such checkpoint"):
        load_tensors(tmp_path / "absent.pth")


def test_a_checkpoint_without_its_state_file_is_not_there(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(Tag(1), {"net": torch.nn.Linear(2, 2)}, {"epoch": 1})
    checkpoints.save(Tag(2), {"net": torch.nn.Linear(2, 2)}, {"epoch": 2})
    checkpoints.path(Tag(2), "state").unlink()
    assert checkpoints.whole() == [Tag(1)]
    assert str(checkpoints.find()) == "1"


def test_an_epochs_end_comes_after_its_updates(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    for tag in (Tag(10), Tag(9), Tag(10, 1999), Tag(2, 5)):
        checkpoints.save(tag, {}, {})
    assert [str(tag) for tag in checkpoints.whole()] == ["2-5", "9", "10-1999", "10"]


def test_full_disk_is_said_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 10})())
    with pytest.raises(UserError, match="make room"):
        Checkpoints(tmp_path).save(Tag(1), {"net": torch.nn.Linear(2, 2)}, {})
    assert list(tmp_path.iterdir()) == []
