"""What we use of redis-py and uvicorn without their promise: a new minor version is read before it is taken."""

from __future__ import annotations

import inspect
import re
import tomllib
from importlib.metadata import version

import pytest
from redis._parsers import BaseParser
from redis.asyncio import connection as links
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.exceptions import AskError, MovedError
from uvicorn.protocols.http import httptools_impl

from api.connection import Connection
from tests.ground.test_docs import ROOT

LINK = (
    "decisioning/store/link.py takes over the transport of a connection that redis-py made. Read "
    "redis/asyncio/connection.py: where _writer is set, what _close() does, what else reads or writes once connected."
)
EDGE = (
    "api/connection.py puts a transport of its own beneath uvicorn and counts what it reads. Read "
    "uvicorn/protocols/http/httptools_impl.py: every use of self.transport and of flow, when eof_received comes, which "
    "pieces the parser tells, and that an error raised there ends in send_400_response."
)
READ_FIRST = {"redis": LINK, "uvicorn": EDGE}


@pytest.mark.parametrize("name", READ_FIRST)
def test_the_next_minor_version_is_not_taken_unread(name: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    [asked] = [each for each in project["dependencies"] if re.match(rf"{name}\W", each)]
    major, minor, *_ = (int(part) for part in version(name).split("."))

    assert asked.endswith(f"<{major}.{minor + 1}"), READ_FIRST[name]


def test_redis_py_has_what_the_link_takes_over() -> None:
    for kind in (links.Connection, links.SSLConnection, links.UnixDomainSocketConnection):
        assert issubclass(kind, links.AbstractConnection), LINK
    connection = links.Connection()

    assert connection._writer is None, LINK
    assert callable(connection._close) and not inspect.iscoroutinefunction(connection._close), LINK
    assert "nowait" in inspect.signature(connection.disconnect).parameters, LINK


def test_redis_py_reads_refusals_and_slots_as_the_cluster_needs_them() -> None:
    moved, ask = BaseParser.parse_error("MOVED 7 host:1"), BaseParser.parse_error("ASK 7 host:1")

    assert isinstance(moved, MovedError) and issubclass(MovedError, AskError), "read redis/exceptions.py"
    assert (ask.slot_id, ask.host, ask.port) == (7, "host", 1), "read redis/exceptions.py"
    assert (REDIS_CLUSTER_HASH_SLOTS, key_slot(b"123456789")) == (16_384, 12_739), "read redis/crc.py"


def test_uvicorn_asks_no_more_of_a_transport_than_ours_has() -> None:
    asked = set(re.findall(r"transport\.(\w+)\(", inspect.getsource(httptools_impl)))

    assert asked == {"write", "close", "is_closing", "set_protocol"}, EDGE
    ours = {name for name, each in vars(Connection).items() if inspect.isfunction(each)} - {"_refuse"}
    assert ours <= vars(httptools_impl.HttpToolsProtocol).keys(), EDGE
