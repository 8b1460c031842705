"""Every verb of DepthNet resolves and can say its options."""

import pytest

from likeness.cli.main import run
from likeness.engine.method import resolve
from likeness.methods.depthnet import METHOD


def test_stages_and_targets_resolve():
    for entry in METHOD.stages.values():
        assert entry.load_presets()
        assert entry.load()
    for target in [*METHOD.verbs.values(), *METHOD.commands.values(), METHOD.compat, METHOD.demo]:
        assert callable(resolve(target))


@pytest.mark.parametrize("verb", sorted(METHOD.verbs))
def test_every_verb_has_help(verb, capsys):
    name, *rest = verb.split()
    with pytest.raises(SystemExit) as left:
        run([name, "depthnet", *rest, "--help"])
    assert left.value.code == 0
    assert "--" in capsys.readouterr().out


@pytest.mark.parametrize("command", sorted(METHOD.commands))
def test_every_command_has_help(command, capsys):
    with pytest.raises(SystemExit) as left:
        run([*command.split(), "--help"])
    assert left.value.code == 0


def test_training_takes_the_original_flags(prepared, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DIR_3DFAW", str(prepared))
    monkeypatch.chdir(tmp_path)
    line = "--name=exp1 --batch_size=8 --epochs=1 --lamb=1.0 --no_gan --cpu --resume=auto --save_every=1 "
    line += "--network=architectures/depthnet_shallowd5.py --iterator=iterators/iterator.py --visuals-every=0"
    run(["train", "depthnet", *line.split()])
    assert (tmp_path / "results" / "runs" / "exp1" / "checkpoints" / "1_generator.pth").is_file()
    run(["evaluate", "depthnet", "--name=exp1", "--network=architectures/depthnet_shallowd5.py", "--compute_stats"])
    assert "Computing stats on test set..." in capsys.readouterr().out
