"""The original launchers' flag lines, word for word."""

import pytest

from likeness.errors import UserError
from likeness.methods.depthnet.compat import rewrite

COMMON = "--batch_size=32 --epochs=100 --lamb=1.0 --cpu --resume=auto --iterator=iterators/iterator.py"


def given(words, *expected):
    line = " ".join(words)
    return all(part in line for part in expected)


def test_training_lines_of_the_experiments(monkeypatch, capsys):
    monkeypatch.setenv("DIR_3DFAW", "/faces")
    words = rewrite(
        "train",
        f"--name=exp3 {COMMON} --network=architectures/depthnet_sd5_learnm.py --learn_m "
        "--dnorm=0.1 --save_every=5".split(),
    )
    assert given(words, "--experiment-name exp3", "--batch-size 32", "--accelerator cpu", "--resume auto", "--learn-m")
    assert given(words, "--dnorm 0.1", "--save-every 5", "--experiment-dir results", "--data /faces")
    assert "--no-gan" not in words
    told = capsys.readouterr().out
    assert "--iterator: dropped, there is one way to pair faces" in told
    assert "likeness train depthnet --experiment-name exp3" in told
    words = rewrite("train", "--no_gan --network architectures/depthnet_shallowd5.py --save_path=out".split())
    assert given(words, "--no-gan", "--batch-size 2", "--experiment-name deleteme", "--resume none")
    assert "--learn-m" not in words
    assert given(words, "--experiment-dir out")


def test_scripts_and_our_own_lines(monkeypatch):
    monkeypatch.delenv("DIR_3DFAW", raising=False)
    script = "exps/exp1.lamb1.sd5.wgan.dnorm0.1.sigma0.fixm.sh"
    assert rewrite("train", [script]) == ["--preset", "exp1_lamb1_sd5_wgan_dnorm0.1_sigma0_fixm"]
    assert rewrite("train", ["exps_aigns/exp1_lamb100.sh", "--epochs", "3"])[:2] == ["--preset", "exp1_lamb100"]
    own = ["--preset", "x", "--epochs", "3", "--no-gan"]
    assert rewrite("train", own) == own
    assert rewrite("figures", ["--name"]) == ["--name"]


def test_statistics_and_dumps(monkeypatch):
    monkeypatch.setenv("DIR_3DFAW", "/faces")
    line = "--name=exp1 --no_gan --network=architectures/depthnet_shallowd5.py"
    words = rewrite("evaluate", f"{line} --compute_stats".split())
    assert words == ["--run", "results/runs/exp1", "--data", "/faces"]
    words = rewrite("evaluate", f"{line} --dump_depths=d.npz --resume=models/100.pkl".split())
    assert words == ["--run", "models/100.pkl", "--dump-depths", "d.npz", "--data", "/faces"]
    words = rewrite("evaluate", "--name=a --network=architectures/aign.py --compute_stats".split())
    assert words == ["--run", "results_aigns/runs/a", "--aign-text", "original", "--data", "/faces"]
    with pytest.raises(UserError, match="likeness evaluate"):
        rewrite("train", f"{line} --compute_stats".split())
    with pytest.raises(UserError, match="exclude each other"):
        rewrite("evaluate", f"{line} --compute_stats --dump_depths d.npz".split())


def test_aign_launcher(monkeypatch):
    monkeypatch.delenv("DIR_3DFAW", raising=False)
    words = rewrite("train", "--name=a --network=architectures/aign.py --lamb=100 --batch_size=32".split())
    assert words[:2] == ["--stage", "aign"]
    assert given(words, "--experiment-dir results_aigns", "--lamb 100")
    assert "--spectral" in rewrite("train", "--name=a --network=architectures/aign_sn.py".split())
    with pytest.raises(UserError, match="no flag of AIGN"):
        rewrite("train", "--name=a --network=architectures/aign.py --no_gan".split())


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--name=a --resume=models/100.pkl", "likeness import depthnet"),
        ("--name=a --wibble=3", "no flag of the original"),
        ("--name=a stray", "belongs to no flag"),
        ("--name", "needs a value"),
        ("--name=a --learn_m --network=architectures/depthnet_shallowd5.py", "depthnet_sd5_learnm"),
    ],
)
def test_mistakes(line, message):
    with pytest.raises(UserError, match=message):
        rewrite("train", line.split())
