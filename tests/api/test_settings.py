"""Settings: what cannot be read is told in one line, by every command that would use it."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from click.testing import CliRunner

from api.cli.main import commands
from api.settings import Settings
from api.storage import address_of
from decisioning.errors import SettingsFaulty
from decisioning.store.memory import MemoryStore
from tests.console.office import RETAIL_BANK


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("localhost:6379", "one of the following schemes"),
        ("redis://store:first", "its port is no number"),
        ("redis://store:70000", "Port out of range"),
        ("redis://[::1", "Invalid IPv6 URL"),
        ("redis://store?timeout=1", "an option in the URL of the store cannot be read"),
        ("rediss://store?ssl_cert_reqs=perhaps", "perhaps"),
        ("redis+cluster://one:1,two:second", "its port is no number"),
    ],
)
def test_a_url_that_names_no_store_is_told_with_the_variable_and_the_way_out(url: str, reason: str) -> None:
    with pytest.raises(SettingsFaulty) as raised:
        Settings.from_environment({"NEXTBEST_REDIS_URL": url})

    told = str(raised.value)
    assert told.startswith("NEXTBEST_REDIS_URL cannot be read: ") and reason in told
    assert "Write redis://HOST:PORT" in told and "\n" not in told


def test_a_url_that_cannot_be_read_does_not_give_away_its_password() -> None:
    with pytest.raises(SettingsFaulty) as raised:
        Settings.from_environment({"NEXTBEST_REDIS_URL": "redis://bank:half/secret@store:6379"})

    assert "half" not in str(raised.value) and "secret" not in str(raised.value)
    assert "write / as %2F" in str(raised.value)


SECRETS = [
    "half/hidden",
    "half#hidden",
    "half?hidden",
    "half[hidden",
    "half[hidden]x",
    "hidden]half",
    "1/hidden?half=hidden",
    "hidden\u2100half",
]


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("scheme", ["redis", "rediss", "redis+cluster"])
@pytest.mark.parametrize("at", ["@", "%40"])
def test_no_parser_is_quoted_on_a_password(scheme: str, secret: str, at: str) -> None:
    with pytest.raises(SettingsFaulty) as raised:
        Settings.from_environment({"NEXTBEST_REDIS_URL": f"{scheme}://bank:{secret}{at}store:6379?wrong=1"})

    assert "half" not in str(raised.value) and "hidden" not in str(raised.value)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("redis://store", "redis://store"),
        ("rediss://bank:p%2Fhidden@store:6380/1?password=hidden", "rediss://store:6380/1"),
        ("rediss://bank:hid@den@store:6380/1", "rediss://store:6380/1"),
        ("redis+cluster://bank:hidden@one:1,two:2", "redis+cluster://one:1,two:2"),
        ("unix://bank:hidden@/run/store?db=1", "unix:///run/store"),
        ("unix:///run/store", "unix:///run/store"),
    ],
)
def test_what_is_told_of_an_address_has_no_password(url: str, told: str) -> None:
    assert address_of(Settings.from_environment({"NEXTBEST_REDIS_URL": url})) == told


def test_publish_prints_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    @asynccontextmanager
    async def opened(_: Settings) -> AsyncIterator[MemoryStore]:
        yield MemoryStore()

    monkeypatch.setattr(sys.modules["api.cli.main"], "opened", opened)
    environment = {"NEXTBEST_REDIS_URL": "redis://bank:hidden@store:6379"}
    result = CliRunner().invoke(commands, ["publish", str(RETAIL_BANK)], env=environment)

    assert result.exit_code == 0, result.output
    assert "redis://store:6379" in result.output and "hidden" not in result.output


@pytest.mark.parametrize("words", [["serve"], ["worker"], ["volume"]])
def test_a_command_with_such_a_url_ends_with_what_main_prints_as_one_line(words: list[str]) -> None:
    result = CliRunner().invoke(commands, words, env={"NEXTBEST_REDIS_URL": "nonsense"})

    assert isinstance(result.exception, SettingsFaulty)


@pytest.mark.parametrize("url", ["redis://store", "rediss://u:p%2Fw@store:1/2", "unix:///run/store", ""])
def test_a_url_that_can_be_read_is_taken_as_it_stands(url: str) -> None:
    assert Settings.from_environment({"NEXTBEST_REDIS_URL": url}).redis_url == (url or None)
