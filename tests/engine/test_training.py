"""The loop's promises: same seed same run, killed runs end on the same bits, several processes equal one."""

import json
import os
import pickle
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from likeness.engine import Interrupted, Run, load_network
from likeness.engine.logs import read_log
from likeness.errors import UserError
from tests.engine.toy import ToyConfig, ToyStage, final_weights, run_toy

TOY = Path(__file__).with_name("toy.py")
ROOT = Path(__file__).resolve().parents[2]


def start(folder, name, kill_at=0, launcher=(), **options):
    environment = dict(os.environ, PYTHONPATH=f"{ROOT / 'src'}:{ROOT}", OMP_NUM_THREADS="1")
    command = [sys.executable, *launcher, str(TOY), str(folder), name, str(kill_at), repr(options)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


def assert_same(left, right):
    assert left.keys() == right.keys()
    for name in left:
        assert torch.equal(left[name], right[name]), name


def test_same_seed_same_run_and_another_seed_another(tmp_path):
    first, second = (final_weights(run_toy(tmp_path, name, noise=0.1)) for name in ("a", "b"))
    other = final_weights(run_toy(tmp_path, "c", noise=0.1, seed=1))
    assert_same(first, second)
    assert not torch.equal(first["generator.0.weight"], other["generator.0.weight"])


@pytest.mark.parametrize("kill_at", [3, 5, 12])
def test_killed_in_the_middle_of_a_checkpoint_ends_on_the_same_bits(tmp_path, kill_at):
    options = {"noise": 0.1, "save_every": 2, "save_unit": "update", "keep_last": 2}
    whole = run_toy(tmp_path, "whole", **options)
    killed = start(tmp_path, "killed", kill_at, **options)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    resumed = run_toy(tmp_path, "killed", **options)
    assert_same(final_weights(whole), final_weights(resumed))
    assert pickle.loads((whole.folder / "losses.pkl").read_bytes()) == pickle.loads(
        (resumed.folder / "losses.pkl").read_bytes()
    )
    updates = [line["update"] for line in read_log(resumed.folder / "log.jsonl") if line["kind"] == "valid"]
    assert updates == [6, 12, 18]


def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path, monkeypatch):
    whole = run_toy(tmp_path, "whole", noise=0.1)
    steps = [0]
    plain = ToyStage.step

    def step(self, batch, ctx):
        plain(self, batch, ctx)
        steps[0] += 1
        if steps[0] == 9:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(ToyStage, "step", step)
    assert threading.current_thread() is threading.main_thread()
    with pytest.raises(Interrupted, match="same command goes on"):
        run_toy(tmp_path, "stopped", noise=0.1)
    assert str(Run.open(tmp_path / "runs" / "stopped").checkpoints.find()) == "2-9"
    assert_same(final_weights(whole), final_weights(run_toy(tmp_path, "stopped", noise=0.1)))


def test_a_training_that_comes_apart_stops_and_keeps_its_good_checkpoints(tmp_path, monkeypatch):
    plain, breaks_at = ToyStage.step, 9

    def step(self, batch, ctx):
        if ctx.update_count == breaks_at:
            with torch.no_grad():
                next(iter(self.networks["generator"].parameters())).fill_(float("nan"))
        plain(self, batch, ctx)

    with monkeypatch.context() as patched:
        patched.setattr(ToyStage, "step", step)
        with pytest.raises(UserError, match=r"came apart in epoch 2 .*nan.* goes on from checkpoint 1 with a lower"):
            run_toy(tmp_path, "apart", keep_last=1)
        breaks_at = 2
        with pytest.raises(UserError, match="start anew with a lower"):
            run_toy(tmp_path, "at once")
    run = Run.open(tmp_path / "runs" / "apart")
    assert [str(tag) for tag in run.checkpoints.whole()] == ["1"]
    assert_same(final_weights(run_toy(tmp_path, "apart", keep_last=1)), final_weights(run_toy(tmp_path, "whole")))


def test_two_processes_equal_one(tmp_path):
    # 22 points in batches of 4: the last batch of an epoch is short, so the shares differ in weight.
    one = final_weights(run_toy(tmp_path, "one"))
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    done = start(tmp_path, "two", launcher=launcher)
    assert done.returncode == 0, done.stderr
    two = final_weights(Run.open(tmp_path / "runs" / "two"))
    # A bias before BatchNorm has no gradient but rounding, which Adam turns into steps of the learning rate.
    drifting = {f"{network}.0.bias" for network in ("generator", "critic", "generator_ema")}
    drifting |= {f"{network}.1.running_mean" for network in ("generator", "critic", "generator_ema")}
    for name, value in one.items():
        if name in drifting:
            continue
        torch.testing.assert_close(two[name], value, rtol=2e-4, atol=2e-5, msg=name)


def test_devices_flag_starts_the_processes_itself(tmp_path):
    done = start(tmp_path, "devices", devices=2)
    assert done.returncode == 0, done.stderr
    one = final_weights(run_toy(tmp_path, "one"))
    two = final_weights(Run.open(tmp_path / "runs" / "devices"))
    torch.testing.assert_close(two["critic.0.weight"], one["critic.0.weight"], rtol=2e-4, atol=2e-5)


def test_run_directory_holds_what_the_contract_names(tmp_path):
    run = run_toy(tmp_path, "r", log_every=2)
    for name in ("config.yaml", "args.txt", "losses.pkl", "log.jsonl", "checkpoints/index.json"):
        assert (run.folder / name).is_file(), name
    assert run.config(ToyConfig).lr == 1e-2
    assert run.header()["method"] == "toy"
    assert sorted(path.name for path in run.images("train").iterdir()) == [f"{e}_points.png" for e in (1, 2, 3)]
    assert any((run.folder / "metrics").iterdir()) and any((run.folder / "tensorboard_paper").iterdir())
    index = json.loads((run.folder / "checkpoints" / "index.json").read_text())
    assert index["last"] == "3" and index["best"] in {"1", "2", "3"}
    history = pickle.loads((run.folder / "losses.pkl").read_bytes())
    assert len(history["fit_train"]) == len(history["fit_test"]) == 3
    steps = [line for line in read_log(run.folder / "log.jsonl") if line["kind"] == "step"]
    assert len(steps) == 9 and steps[0]["lr"]["generator"] == pytest.approx(1e-2 * 0.99)


def test_retention_keeps_newest_best_and_multiples(tmp_path):
    run = run_toy(tmp_path, "r", save_every=1, save_unit="update", keep_last=2, keep_every=6)
    kept = {str(tag) for tag in run.checkpoints.whole()}
    best = str(run.checkpoints.best())
    assert {"3-18", "3"} <= kept and {"1-6", "2-12"} <= kept and best in kept
    assert kept <= {"3-18", "3", "1-6", "2-12", best}
    assert not list(run.checkpoints.folder.glob("1-1_*"))


def test_rejected_batches_are_counted_and_leave_the_step_number(tmp_path):
    run = run_toy(tmp_path, "r", reject_position=1)
    state = run.checkpoints.load_state(run.checkpoints.find())
    assert state["rejections"] == {"asked to": 3}
    assert state["update_count"] == 15 == state["stage"]["accepted"]


def test_splits_give_the_same_gradient(tmp_path, monkeypatch):
    # Evaluation-mode BatchNorm: with batch statistics the parts of a split batch rightly differ from the whole.
    plain = ToyStage.step

    def frozen(self, batch, ctx):
        self.networks["generator"].eval()
        self.networks["critic"].eval()
        plain(self, batch, ctx)

    monkeypatch.setattr(ToyStage, "step", frozen)
    whole, parts = (final_weights(run_toy(tmp_path, f"s{n}", splits=n)) for n in (1, 3))
    torch.testing.assert_close(whole["generator.0.weight"], parts["generator.0.weight"], rtol=1e-4, atol=1e-6)


def test_resume_none_refuses_a_used_run_and_paths_are_taken_up(tmp_path):
    run = run_toy(tmp_path, "r")
    with pytest.raises(UserError, match="--experiment-name"):
        run_toy(tmp_path, "r", resume="none")
    with pytest.raises(UserError, match="neither a run nor a checkpoint"):
        run_toy(tmp_path, "s", resume=str(tmp_path / "nothing"))
    branch = run_toy(tmp_path, "branch", resume=str(run.checkpoints.path(run.checkpoints.find("1"), "state")))
    assert_same(final_weights(run), final_weights(branch))


def test_another_architecture_is_named(tmp_path):
    run = run_toy(tmp_path, "r")
    with pytest.raises(UserError, match="another architecture"):
        load_network(run.folder, "generator", torch.nn.Linear(3, 3))
    with pytest.raises(UserError, match="no finished checkpoint '9'"):
        load_network(run.folder, "generator", torch.nn.Linear(3, 3), "9")


def test_bfloat16_autocast_trains_float32_weights(tmp_path):
    weights = final_weights(run_toy(tmp_path, "r", precision="bf16"))
    assert all(
        value.dtype in (torch.float32, torch.int64) and torch.isfinite(value).all() for value in weights.values()
    )
    assert not torch.equal(weights["critic.0.weight"], final_weights(run_toy(tmp_path, "s"))["critic.0.weight"])


@pytest.mark.gpu
def test_trains_on_a_gpu(tmp_path):
    config = ToyConfig(experiment_dir=tmp_path, batch_size=4, accelerator="cuda")
    from likeness.engine import train

    assert train(ToyStage, config, method="toy", stage="toy", argv=[]).checkpoints.whole()
