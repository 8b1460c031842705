import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info

import likeness
from likeness.engine.batches import Batches, iterate
from likeness.errors import UserError
from likeness.work import one_thread, results, run_all


def _threads(item: int) -> list[int]:
    # scipy brings a BLAS of its own, which is loaded here for the first time.
    import scipy.linalg

    scipy.linalg.inv(np.eye(3) + item)
    return [torch.get_num_threads(), *(library["num_threads"] for library in threadpool_info())]


@pytest.fixture
def several_threads(monkeypatch):
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("workers", [1, 2])
def test_all_work_is_done_on_one_thread_each(several_threads, workers):
    found = dict(results(_threads, [1, 2, 3], workers))
    assert sorted(found) == [1, 2, 3]
    for threads in found.values():
        assert len(threads) > 1
        assert set(threads) == {1}
    assert torch.get_num_threads() == 3


class _Threads(Batches):
    def __len__(self) -> int:
        return 2

    def __getitem__(self, position: int) -> list[int]:
        return [torch.get_num_threads(), *(library["num_threads"] for library in threadpool_info())]


def test_processes_that_fetch_batches_compute_on_one_thread(several_threads):
    for threads in iterate(_Threads(), workers=2):
        assert set(threads) == {1}


def test_one_thread_is_for_the_block_alone(several_threads):
    with one_thread():
        assert torch.get_num_threads() == 1
        assert {library["num_threads"] for library in threadpool_info()} == {1}
    assert torch.get_num_threads() == 3


def _dies_once(mark: str) -> int:
    if not Path(mark).exists():
        Path(mark).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return 1


def _always_dies(item: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_work_that_a_dying_process_took_along_is_given_out_again(tmp_path):
    marks = [str(tmp_path / str(number)) for number in range(2)]
    assert dict(results(_dies_once, marks, 2)) == dict.fromkeys(marks, 1)
    with pytest.raises(UserError, match="fewer --workers"):
        list(results(_always_dies, [1], 2))


def test_no_processes_is_a_mistake():
    with pytest.raises(UserError, match="--workers is 0: expected 1 or more"):
        run_all(_threads, [1], 0, "")


def _raises(item: int) -> None:
    raise UserError("is broken", path=f"file{item}")


def test_a_mistake_in_a_worker_keeps_its_text():
    with pytest.raises(UserError, match="file1: is broken") as found:
        list(results(_raises, [1], 2))
    assert found.value.path == Path("file1")


INTERRUPTED = """
import sys, time
from pathlib import Path
from likeness.cli.main import main
from likeness.work import run_all

def work(path):
    time.sleep(0.4)
    Path(path).touch()

def long():
    run_all(work, [f"{sys.argv[1]}/{n}" for n in range(40)], int(sys.argv[2]), "work")

if __name__ == "__main__":
    import likeness.cli.main as command
    command.run = lambda words: long()
    print("ready", flush=True)
    main()
"""


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("early", [False, True])
def test_ctrl_c_ends_with_one_line_and_says_how_to_go_on(tmp_path, workers, early):
    (tmp_path / "out").mkdir()
    (tmp_path / "script.py").write_text(INTERRUPTED)
    process = subprocess.Popen(
        [sys.executable, tmp_path / "script.py", tmp_path / "out", str(workers)],
        env=os.environ | {"PYTHONPATH": str(Path(likeness.__file__).parents[1])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        text=True,
        # Python leaves Ctrl-C alone where its parent ignored it, as shells do for jobs in the background.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    deadline = time.monotonic() + 120
    if early:
        time.sleep(0.5)
    while not early and not list((tmp_path / "out").iterdir()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    printed, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert "run the same command again to go on" in errors
    assert "Traceback" not in printed + errors
    assert len(list((tmp_path / "out").iterdir())) < 40
