"""Doing many independent pieces of work: in several processes, with a progress bar, taken up again where it stopped."""

import multiprocessing
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from itertools import islice
from typing import TypeVar

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

T = TypeVar("T")


def run_all(work: Callable[[T], None], items: Sequence[T], workers: int, title: str) -> None:
    """Call `work` on every item.

    `work` is a function of its item alone, so that the result does not depend on `workers`; with more than one it must
    be picklable. An interruption leaves finished items finished: skip those when called again.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress:
        task = progress.add_task(title, total=len(items))
        done = map(work, items) if workers <= 1 else _in_processes(work, items, workers)
        for _ in done:
            progress.advance(task)


def _in_processes(work: Callable[[T], None], items: Iterable[T], workers: int) -> Iterable[None]:
    # Spawned, not forked: Warp's and torch's threads do not survive a fork. Few futures at once keep memory flat.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_one_thread) as pool:
        rest = iter(items)
        waiting = {pool.submit(work, item) for item in islice(rest, 4 * workers)}
        while waiting:
            finished, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            waiting |= {pool.submit(work, item) for item in islice(rest, len(finished))}
            for future in finished:
                yield future.result()


def _one_thread() -> None:
    torch.set_num_threads(1)
