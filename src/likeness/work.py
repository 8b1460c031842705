"""Doing many independent pieces of work: in several processes of one thread each, taken up again where it stopped."""

import contextlib
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing import resource_tracker
from types import FrameType
from typing import TypeVar

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from threadpoolctl import threadpool_limits

from likeness.errors import UserError

T = TypeVar("T")
R = TypeVar("R")

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""Read by libraries that are loaded later."""

ATTEMPTS = 3
"""How often work is given out that a dying process took along."""


def run_all(work: Callable[[T], None], items: Sequence[T], workers: int, title: str) -> None:
    """Call `work` on every item and show a progress bar; the other arguments are those of `results`.

    An interruption leaves finished items finished: skip those when called again.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress, resumable(), contextlib.closing(results(work, items, workers)) as done:
        task = progress.add_task(title, total=len(items))
        for _ in done:
            progress.advance(task)


def results(work: Callable[[T], R], items: Sequence[T], workers: int) -> Generator[tuple[T, R]]:
    """Items and what `work` makes of them, as they are finished.

    `work` is a function of its item alone, so that the result does not depend on `workers`; with more than one it must
    be picklable. It is done on one thread, whatever the number of processes: sums differ with the number of threads,
    and idle ones of numpy's would take as much of the processors as the work itself.

    Raises:
        UserError: processes died three times; or what `work` raised.
    """
    if workers < 1:
        raise UserError(f"--workers is {workers}: expected 1 or more")
    if workers == 1:
        with one_thread():
            for item in items:
                yield item, work(item)
        return
    left = list(range(len(items)))
    for _ in range(ATTEMPTS):
        finished: set[int] = set()
        try:
            for index, result in _in_processes(work, items, left, workers):
                finished.add(index)
                yield items[index], result
            return
        except BrokenProcessPool:
            left = [index for index in left if index not in finished]
    raise UserError(
        f"worker processes died {ATTEMPTS} times (out of memory?): run the same command again with fewer --workers; "
        "what is finished is kept"
    )


@contextlib.contextmanager
def resumable() -> Iterator[None]:
    """Say of a Ctrl-C in here that the same command goes on."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt("stopped: run the same command again to go on; what is finished is kept") from None


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """In here torch and the libraries below numpy and scipy compute on one thread of this process."""
    threads = torch.get_num_threads()
    environment = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    try:
        with _limited():
            yield
    finally:
        for name, value in environment.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        torch.set_num_threads(threads)


def begin_worker(*_: object) -> None:
    """To be called first in a process that shares the work: it computes on one thread from here on."""
    _limited()


def _limited() -> threadpool_limits:
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
    torch.set_num_threads(1)
    return threadpool_limits(1)


def _begin_pool_worker() -> None:
    begin_worker()
    signal.signal(signal.SIGINT, _after_the_first)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    # A process started in here is not torn from its imports by Ctrl-C, which would show a traceback.
    resource_tracker.ensure_running()  # else it is started in here, and lets interrupts through again
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)


def _after_the_first(number: int, frame: FrameType | None) -> None:
    # Ctrl-C reaches workers too: they finish what is under way. A second one stops them there.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _in_processes(
    work: Callable[[T], R], items: Sequence[T], indices: Sequence[int], workers: int
) -> Iterator[tuple[int, R]]:
    # Spawned, not forked: threads of Warp, torch, MediaPipe and PyAV do not survive a fork.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(indices) or 1), context, _begin_pool_worker) as pool:
        # One more than are under way: what is given out can no longer be taken back when Ctrl-C comes.
        rest = iter(indices)
        waiting: dict[Future[R], int] = {}
        try:
            while True:
                with _interrupts_held():
                    waiting |= {pool.submit(work, items[i]): i for i in islice(rest, workers + 1 - len(waiting))}
                if not waiting:
                    return
                for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                    yield waiting.pop(future), future.result()
        except BaseException as error:
            if isinstance(error, (KeyboardInterrupt, GeneratorExit)):
                print("finishing what is under way (Ctrl-C again: at once)", file=sys.stderr)
            pool.shutdown(wait=False, cancel_futures=True)
            raise
