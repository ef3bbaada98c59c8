"""Processes that do not come together."""

import socket

import pytest

from videonl.errors import UserError
from videonl.runtime import ranks
from videonl.runtime.launched import Launched
from videonl.runtime.ranks import ALONE, meet


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> int:
    """A port that is free; nobody is waited for longer than an instant."""
    monkeypatch.setattr(ranks, "MEETING_SECONDS", 0.2)
    monkeypatch.delenv("TORCHELASTIC_USE_AGENT_STORE", raising=False)
    with socket.create_server(("127.0.0.1", 0)) as server:
        number: int = server.getsockname()[1]
    return number


def test_who_is_missing_is_not_waited_for_forever(port: int) -> None:
    with pytest.raises(UserError, match=rf"only 1 of 3 processes came to 127\.0\.0\.1:{port} within 0\.2 seconds"):
        meet(Launched(0, 3, 0, "127.0.0.1", port))
    with pytest.raises(UserError, match=rf"process 0 does not answer at 127\.0\.0\.1:{port + 1}"):
        meet(Launched(1, 3, 1, "127.0.0.1", port + 1))


def test_a_machine_that_is_not_there_or_a_port_that_is_taken(port: int) -> None:
    with pytest.raises(UserError, match=r"nowhere\.invalid: no machine has this name .* Correct MASTER_ADDR"):
        meet(Launched(1, 2, 1, "nowhere.invalid", port))
    with (
        socket.create_server(("127.0.0.1", port)),
        pytest.raises(UserError, match=rf"process 0 cannot be connected at 127\.0\.0\.1:{port} .*MASTER_PORT"),
    ):
        meet(Launched(0, 2, 0, "127.0.0.1", port))


def test_one_process_has_all() -> None:
    assert list(ALONE.shared([2, 3, 5])) == [2, 3, 5]
    assert (ALONE.told("a", 7), ALONE.reports("c", {"b": 1})) == (7, [{"b": 1}])
