"""Checkpoints of every origin: what is recognised, what is refused, and the ways in and out of a run."""

import os
import pickle
import subprocess
from collections import OrderedDict

import pytest
import torch

from likeness.engine import Run, train
from likeness.errors import UserError
from likeness.methods.depthnet.aign import AignGenerator
from likeness.methods.depthnet.config import DepthConfig
from likeness.methods.depthnet.method import DepthStage
from likeness.methods.depthnet.networks import Critic, FixedAffineGenerator, LearnedAffineGenerator
from likeness.methods.depthnet.published import load_generator, load_network, read_published
from likeness.methods.depthnet.transfer import (
    ImportConfig,
    LayoutConfig,
    export_layout,
    import_published,
)


def stepped(network):
    """An Adam with moments, as an old program saved it: parameters numbered by address, steps as integers."""
    optimizer = torch.optim.Adam(network.parameters(), 2e-4, (0.5, 0.999))
    for parameter in network.parameters():
        parameter.grad = torch.randn_like(parameter) * 1e-3
    optimizer.step()
    optimizer.step()
    state = optimizer.state_dict()
    address = lambda index: 140000000000000 + 56 * index  # noqa: E731
    group = {key: state["param_groups"][0][key] for key in ("lr", "betas", "eps", "weight_decay", "amsgrad")}
    return {
        "state": {address(i): {**entry, "step": int(entry["step"])} for i, entry in state["state"].items()},
        "param_groups": [{**group, "params": [address(i) for i in state["param_groups"][0]["params"]]}],
    }


def old_state(network):
    """A state without `num_batches_tracked`, as early PyTorch wrote it."""
    return OrderedDict((k, v.clone()) for k, v in network.state_dict().items() if not k.endswith("batches_tracked"))


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize(
    ("build", "architecture"),
    [
        (FixedAffineGenerator, "shallowd5"), (LearnedAffineGenerator, "sd5_learnm"), (AignGenerator, "aign"),
    ],
)  # fmt: skip
def test_row_12_dict_and_tuple_are_imported(tmp_path, build, architecture, zipped):
    generator, critic = build(), Critic()
    optimizers = {"optim_g": stepped(generator), "optim_d": stepped(critic)} if architecture != "aign" else {}
    contents = {"tuple": (old_state(generator), old_state(critic))}
    if optimizers:
        contents["dict"] = {"g": old_state(generator), "d": old_state(critic), **optimizers, "epoch": 100}
    for name, content in contents.items():
        torch.save(content, tmp_path / f"{name}.pkl", _use_new_zipfile_serialization=zipped)
        out = tmp_path / "runs" / name
        import_published(ImportConfig(tmp_path / f"{name}.pkl", out))
        assert read_published(tmp_path / f"{name}.pkl").architecture == architecture
        loaded = load_network(out)
        assert type(loaded) is build
        assert not loaded.training
        for key, value in generator.state_dict().items():
            if not key.endswith("batches_tracked"):
                assert torch.equal(loaded.state_dict()[key], value)
        direct = load_network(tmp_path / f"{name}.pkl").state_dict()
        assert all(torch.equal(direct[key], value) for key, value in loaded.state_dict().items())


def test_row_12_an_imported_run_trains_on(prepared, tmp_path):
    generator, critic = FixedAffineGenerator(), Critic()
    content = {"g": old_state(generator), "d": old_state(critic), "optim_g": stepped(generator)}
    content |= {"optim_d": stepped(critic), "epoch": 3, "g": old_state(generator), "d": old_state(critic)}
    torch.save(content, tmp_path / "3.pkl", _use_new_zipfile_serialization=False)
    import_published(ImportConfig(tmp_path / "3.pkl", tmp_path / "runs" / "taken", prepared))
    common = {"data": prepared, "experiment_dir": tmp_path, "experiment_name": "taken", "dnorm": 0.1, "batch_size": 8}
    config = DepthConfig(**common, epochs=3, visuals_every=0)
    train(DepthStage, config, method="depthnet", stage="depth", argv=["test"])  # nothing is left to do
    config = DepthConfig(**common, epochs=4, visuals_every=0)
    run = train(DepthStage, config, method="depthnet", stage="depth", argv=["test"])
    assert [str(tag) for tag in run.checkpoints.whole()] == ["3", "4"]
    steps = run.checkpoints.load_state(run.checkpoints.find("last"))["optimizers"]["generator"]["state"][0]["step"]
    assert float(steps) == 2 + 3


def test_original_layout_comes_back_the_same(prepared, tmp_path):
    config = DepthConfig(data=prepared, experiment_dir=tmp_path, epochs=2, batch_size=8, dnorm=0.1, save_every=1)
    run = train(DepthStage, config, method="depthnet", stage="depth", argv=["test"])
    out = tmp_path / "results" / "exp"
    export_layout(LayoutConfig(run=run.folder, out=out))
    assert sorted(path.relative_to(out).as_posix() for path in out.rglob("*.*")) == [
        "models/1.pkl", "models/2.pkl", "results.txt",
        "vis/train_1.png", "vis/train_2.png", "vis/valid_1.png", "vis/valid_2.png",
    ]  # fmt: skip
    published = read_published(out / "models" / "2.pkl")
    assert published.epoch == 2
    assert set(published.optimizers) == {"generator", "critic"}
    import_published(ImportConfig(out / "models" / "2.pkl", tmp_path / "runs" / "back"))
    back = load_generator(tmp_path / "runs" / "back").state_dict()
    assert all(torch.equal(back[key], value) for key, value in load_generator(run.folder).state_dict().items())
    assert len(Run.open(tmp_path / "runs" / "back").checkpoints.whole()) == 1


class Evil:
    def __reduce__(self):
        return os.putenv, ("LIKENESS_WAS_RUN", "1")


def test_row_12_bad_checkpoints_are_refused(tmp_path, prepared):
    wrong = {key: value for key, value in FixedAffineGenerator().state_dict().items()}
    wrong["fc.0.weight"] = torch.zeros(3, 3)
    cases = {
        "evil.pkl": (lambda path: path.write_bytes(pickle.dumps(Evil())), "not opened|not a weights file"),
        "empty.pkl": (lambda path: path.write_bytes(b""), "truncated"),
        "text.pkl": (lambda path: path.write_text("hello"), "weights"),
        "shape.pkl": (lambda path: torch.save((wrong, Critic().state_dict()), path), "another architecture"),
        "other.pkl": (lambda path: torch.save(({"a": torch.zeros(1)}, {}), path), "no architecture we know"),
        "three.pkl": (lambda path: torch.save((1, 2, 3), path), "expected a dict"),
        "swapped.pkl": (
            lambda path: torch.save((FixedAffineGenerator().state_dict(), {"x": torch.zeros(1)}), path),
            "another architecture",
        ),
    }
    for name, (write, message) in cases.items():
        write(tmp_path / name)
        with pytest.raises(UserError, match=message):
            import_published(ImportConfig(tmp_path / name, tmp_path / "runs" / "bad"))
        assert not (tmp_path / "runs" / "bad").exists()
    assert subprocess.run(["printenv", "LIKENESS_WAS_RUN"], check=False).returncode != 0
    with pytest.raises(UserError, match="no such checkpoint"):
        load_network(tmp_path / "absent.pkl")
    torch.save(AignGenerator().state_dict(), tmp_path / "aign.pth")
    with pytest.raises(UserError, match="AIGN"):
        load_generator(tmp_path / "aign.pth")
    torch.save(({"model.1.weight": torch.zeros(1)},) * 4, tmp_path / "cyclegan.pkl")
    assert read_published(tmp_path / "cyclegan.pkl").architecture == "cyclegan"
    with pytest.raises(UserError, match="CycleGAN"):
        load_network(tmp_path / "cyclegan.pkl")
