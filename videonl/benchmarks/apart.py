"""Work in processes of its own, which have done nothing before."""

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")
_subject: Any  # of this process, when it is one of those that are measured


def run_apart(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Calls a function in a fresh process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *args, **kwargs).result()


@contextmanager
def kept_apart(build: Callable[..., Any], *args: Any) -> Iterator[Callable[..., Any]]:
    """A process that holds what ``build`` makes; what it yields calls a method of it, or reads an attribute."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        pool.submit(_build, build, *args).result()
        yield lambda name, *given: pool.submit(_ask, name, *given).result()


def _build(build: Callable[..., Any], *args: Any) -> None:
    global _subject
    _subject = build(*args)


def _ask(name: str, *given: Any) -> Any:
    value = getattr(_subject, name)
    return value(*given) if callable(value) else value
