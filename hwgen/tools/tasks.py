"""Many independent calls of one function: side by side on this machine, or as tasks of a dask cluster."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from threading import Event
from typing import Any, TypeVar

from hwgen.errors import HwgenError, ToolFailedError, ToolMissingError

Argument = TypeVar("Argument")
Result = TypeVar("Result")
OnLine = Callable[[str], None]

CONNECT_SECONDS = 15
"""How long a scheduler may take to answer, and how long it may be without a worker at the start."""


class _StoppedError(Exception):
    """Ends a call whose result nobody wants any more."""


def run_here(
    function: Callable[[Argument, OnLine], Result], arguments: Mapping[str, Argument], workers: int | None = None
) -> Iterator[tuple[str, Result]]:
    """(name, function(argument, on_line)) of each of `arguments`, by name, in the order in which they are done.

    At most `workers` calls go on at a time, each in a thread; None: as many as there are processors. They are meant to
    wait for programs of their own and to hand each line of their output to `on_line`, which ends the call when
    another one has failed or the caller is interrupted. Raises HwgenError for less than one worker, and what a call
    raises.
    """
    if workers is not None and workers < 1:
        raise HwgenError(f"there is at least one worker, not {workers}")
    stop = Event()

    def on_line(line: str) -> None:
        if stop.is_set():
            raise _StoppedError(line)

    with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
        futures = {pool.submit(function, argument, on_line): name for name, argument in arguments.items()}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)


def run_on_cluster(
    function: Callable[[Argument, OnLine], Result], arguments: Mapping[str, Argument], scheduler: str
) -> Iterator[tuple[str, Result]]:
    """As `run_here`, but on the workers of the dask scheduler at the address `scheduler` ("tcp://host:8786").

    Arguments and results travel there and back; a task whose worker is lost is given to another one. `function` must
    be importable on the workers. Raises ToolMissingError where dask is not installed, HwgenError where the scheduler
    does not answer or has no worker, ToolFailedError where it is lost or workers die of a task; and what a call raises.
    """
    try:
        # Its types are partial: it is used without them.
        distributed: Any = importlib.import_module("distributed")
    except ImportError as error:
        raise ToolMissingError("dask is not installed; install it with: pip install 'hwgen[cluster]'") from error
    try:
        client = distributed.Client(scheduler, timeout=CONNECT_SECONDS, name="hwgen", set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        raise HwgenError(f"no dask scheduler answers at {scheduler}: {error}") from error
    with client:
        try:
            client.wait_for_workers(1, timeout=CONNECT_SECONDS)
        except TimeoutError as error:
            raise HwgenError(f"the dask scheduler at {scheduler} has no worker: start one with dask worker") from error
        futures: dict[Any, str] = {
            client.submit(_on_worker, function, argument, key=f"hwgen-{name}"): name
            for name, argument in arguments.items()
        }
        try:
            for future in distributed.as_completed(list(futures), loop=client.loop):
                yield futures[future], future.result()
        except distributed.KilledWorker as error:
            raise ToolFailedError(f"workers of {scheduler} died of a task: {error}") from error
        except distributed.client.FutureCancelledError as error:
            raise ToolFailedError(f"the dask scheduler at {scheduler} was lost: {error}") from error
        except ModuleNotFoundError as error:
            raise HwgenError(f"a worker of {scheduler} has no {error.name}: install hwgen there too") from error
        finally:
            client.cancel(list(futures))


def _on_worker(function: Callable[[Argument, OnLine], Result], argument: Argument) -> Result:
    return function(argument, lambda line: None)
