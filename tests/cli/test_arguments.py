from dataclasses import dataclass

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from likeness.cli import dispatch
from likeness.cli import main as cli
from likeness.cli.arguments import parse, spell_booleans, take_option
from likeness.engine import Method, StageEntry
from likeness.errors import UserError
from likeness.methods import registry


@dataclass(frozen=True)
class Options:
    flip: bool = False
    """Flip."""
    keep_all: bool = True
    """Keep."""
    name: str = "x"
    """Name."""


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], (False, True)),
        (["--flip"], (True, True)),
        (["--no-flip", "--no-keep-all"], (False, False)),
        (["--flip", "True", "--keep_all", "False"], (True, False)),
        (["--flip=true", "--keep-all=0"], (True, False)),
        (["--keep_all", "--flip"], (True, True)),
    ],
)
def test_booleans_in_every_spelling(words, expected):
    options = parse(Options, words, "likeness")
    assert (options.flip, options.keep_all) == expected


def test_a_value_that_reads_true_stays_a_value_of_other_options():
    assert parse(Options, ["--name", "True", "--flip"], "likeness") == Options(flip=True, name="True")


@given(st.lists(st.text(max_size=6)))
def test_words_without_booleans_are_left_alone(words):
    assert spell_booleans(words, set()) == words


def test_take_option():
    assert take_option(["a", "--stage", "b", "--c"], "stage") == ("b", ["a", "--c"])
    assert take_option(["--stage=b=c"], "stage") == ("b=c", [])
    assert take_option(["--stages", "b"], "stage") == (None, ["--stages", "b"])
    for words in (["--stage"], ["--stage", "--c"]):
        with pytest.raises(UserError, match="--stage needs a value"):
            take_option(words, "stage")


def reached(name: str, count: int = 1) -> None:
    """Print what arrived."""
    print("reached", name, count)


def failing() -> None:
    """Fail as a user would see it."""
    from likeness.errors import UserError

    raise UserError("holds [3] rows, expected 66", path="a.csv")


def halved(verb, words):
    print("dropped --old: it never did anything")
    return [word for word in words if word != "--old"]


@pytest.fixture
def toy(monkeypatch):
    entry = StageEntry("tests.engine.toy:ToyStage", "tests.cli.test_arguments:toy_presets")
    method = Method(
        "toy",
        "A toy.",
        {"fit": entry},
        {"animate": "tests.cli.test_arguments:reached", "check": "tests.cli.test_arguments:failing"},
        {"play": "tests.cli.test_arguments:reached", "repair data": "tests.cli.test_arguments:reached"},
        compat="tests.cli.test_arguments:halved",
    )
    monkeypatch.setitem(registry.METHODS, "toy", "tests.cli.test_arguments:toy_method")
    monkeypatch.setattr(registry, "resolve", lambda target: method)
    monkeypatch.setattr(registry, "METHODS", {"toy": "toy"})
    monkeypatch.setattr(dispatch, "METHODS", {"toy": "toy"})


def _presets():
    from tests.engine.toy import ToyConfig

    return {"paper": ToyConfig(batch_size=4, epochs=2), "tiny": ToyConfig(batch_size=4, size=8)}


def __getattr__(name):
    if name == "toy_presets":
        return _presets()
    raise AttributeError(name)


def test_verb_first_method_second(toy, capsys):
    cli.main(["animate", "toy", "--name", "n", "--old"])
    cli.main(["play", "--name", "p", "--count", "3"])
    cli.main(["repair", "data", "--name", "r"])
    out = capsys.readouterr().out
    assert "reached n 1" in out and "reached p 3" in out and "reached r 1" in out and "dropped --old" in out


def test_help_on_a_verb_alone_lists_what_it_applies_to(toy, capsys):
    cli.main(["animate", "--help"])
    assert "likeness animate toy" in capsys.readouterr().out
    cli.main(["repair", "-h"])
    assert "likeness repair data" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["check", "toy"], "a.csv: holds [3] rows"),
        (["animat", "toy"], "no command 'animat'"),
        (["animate", "tony"], "found 'tony'"),
        (["animate"], "needs one of: toy"),
        (["repair"], "needs one of: data"),
        (["train", "toy", "--preset", "huge"], "choose paper, tiny"),
        (["train", "toy", "--stage", "x"], "choose fit"),
    ],
)
def test_a_users_mistake_is_one_line_without_traceback(toy, capsys, words, message):
    with pytest.raises(SystemExit) as stop:
        cli.main(words)
    error = capsys.readouterr().err
    assert stop.value.code == 2 and message in error and "Traceback" not in error


def test_train_writes_a_config_that_repeats_it(toy, tmp_path, capsys):
    where = ["--experiment-dir", str(tmp_path), "--accelerator", "cpu"]
    cli.main(["train", "toy", "--preset", "tiny", *where, "--lr", "0.02", "--experiment_name", "a"])
    written = yaml.safe_load((tmp_path / "runs/a/config.yaml").read_text())
    assert written["method"] == "toy" and written["config"]["lr"] == 0.02 and written["config"]["size"] == 8
    cli.main(["train", "toy", "--config", str(tmp_path / "runs/a/config.yaml"), "--experiment-name", "b"])
    again = yaml.safe_load((tmp_path / "runs/b/config.yaml").read_text())
    assert again["config"] == written["config"] | {"experiment_name": "b"}


def test_dry_run_writes_nothing(toy, tmp_path, capsys):
    cli.main(["train", "toy", "--experiment-dir", str(tmp_path), "--accelerator", "cpu", "--dry-run"])
    out = capsys.readouterr().out
    assert "steps in all" in out and "12" in out and "parameters" in out
    assert list(tmp_path.iterdir()) == []
