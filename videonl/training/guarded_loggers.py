"""Loggers that cannot stop a training: their exceptions become one warning, and the training continues."""

import inspect
import logging
import time
from collections.abc import Callable
from functools import cache, wraps
from types import FunctionType
from typing import Any, ParamSpec, TypeVar

from lightning.pytorch.loggers import Logger

from videonl.training.lightning_internals import DummyExperiment

P = ParamSpec("P")
R = TypeVar("R")
MOST_LOST_SECONDS = 60.0
_log = logging.getLogger(__name__)


class _Watch:
    """What one logger has got wrong so far, and whether it is still asked."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._num_failures = 0
        self._lost_seconds = 0.0
        self._given_up = False
        self._inside = False

    def attempt(self, what: str, action: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R | None:
        """Calls it; when that fails, the failure is named and the result is None."""
        if self._inside:  # a library may handle by itself what its own calls raise
            return action(*args, **kwargs)
        if self._given_up:
            return None
        self._inside, begun = True, time.monotonic()
        try:
            return action(*args, **kwargs)
        except Exception as error:
            self._note(what, error, time.monotonic() - begun)
            return None
        finally:
            self._inside = False

    def _note(self, what: str, error: Exception, seconds: float) -> None:
        self._num_failures += 1
        self._lost_seconds += seconds
        reason = f"{what}: {type(error).__name__}: {error}".rstrip(": ")
        if self._num_failures == 1:
            _log.warning("%s failed (%s); the run continues, but some of its logs may be missing", self.name, reason)
        if self._lost_seconds > MOST_LOST_SECONDS:
            self._given_up = True
            _log.warning(
                "%s is disabled: %d failures took %.0f seconds, the last one: %s",
                *(self.name, self._num_failures, self._lost_seconds, reason),
            )


def guarded(logger: Logger) -> Logger:
    """Makes a logger one whose public methods, and those of its ``experiment``, do not raise.

    The first failure is a warning with its reason. The logger is asked again at the next opportunity, because a full
    disk or a lost connection may pass, until its failures have taken a minute in all. It stays of its class.

    Args:
        logger: Any logger; it is changed in place.

    Returns:
        The same logger.
    """
    if "_watch" not in vars(logger):
        _adopt(logger, _Watch(type(logger).__name__))
    return logger


def attempt(logger: Logger, what: str, action: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R | None:
    """Does something for a logger, such as drawing a figure for it, of which a failure counts as the logger's own.

    Args:
        logger: For whom; without a guard the action is just called.
        what: What is done, for the message.
        action: Does it.
        args: What it is called with.
        kwargs: Likewise.

    Returns:
        What the action returns; None when it failed.
    """
    watch: _Watch | None = vars(logger).get("_watch")
    return action(*args, **kwargs) if watch is None else watch.attempt(what, action, *args, **kwargs)


def _adopt(thing: Any, watch: _Watch) -> None:
    vars(thing)["_watch"] = watch  # not setattr, which an experiment may have redefined
    thing.__class__ = _guarded_class(type(thing))  # type: ignore[arg-type]  # to mypy types have no hash


@cache
def _guarded_class(plain: type) -> type:
    """A subclass of which no public method raises."""
    members: dict[str, Any] = {}
    for name in dir(plain):
        member = inspect.getattr_static(plain, name)
        if isinstance(member, FunctionType) and not name.startswith("_"):
            members[name] = _attempting(plain, name)
        elif isinstance(member, property) and name == "experiment" and member.fget:
            members[name] = property(_experiment(member.fget))
    members["__reduce_ex__"] = _reduced(plain)
    return type(f"Guarded{plain.__name__}", (plain,), members)


def _attempting(plain: type, name: str) -> Callable[..., Any]:
    @wraps(getattr(plain, name))
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        return self._watch.attempt(name, getattr(plain, name), self, *args, **kwargs)

    return call


def _experiment(getter: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Getter of a logger's experiment, guarded too; of one that cannot be had, a stand-in that does nothing."""

    def get(self: Any) -> Any:
        experiment = self._watch.attempt("experiment", getter, self)
        if experiment is None:
            return DummyExperiment()
        if not isinstance(experiment, DummyExperiment) and "_watch" not in getattr(experiment, "__dict__", {"_watch"}):
            self._watch.attempt("experiment", _adopt, experiment, self._watch)
        return experiment

    return get


def _reduced(plain: type) -> Callable[[Any, Any], Any]:
    """Pickles as an instance of the plain class that is guarded again; strategies that spawn pickle their loggers."""

    def reduce(self: Any, protocol: Any) -> Any:
        state = self.__getstate__() if hasattr(plain, "__getstate__") else vars(self)
        return _rebuilt, (plain, {name: value for name, value in state.items() if name != "_watch"})

    return reduce


def _rebuilt(plain: type, state: dict[str, Any]) -> Any:
    thing: Any = object.__new__(plain)
    vars(thing).update(state)
    _adopt(thing, _Watch(plain.__name__))
    return thing
