"""Settings: read from the environment once, passed by hand."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from decisioning.errors import SettingsFaulty
from decisioning.store.redis import connect


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything an operator can turn. What belongs to the business is in the strategy, not here."""

    redis_url: str | None  # None: the embedded store in data_dir
    data_dir: Path  # embedded store, and the default home of the two below
    history_dir: Path  # Parquet written by the worker
    models_dir: Path  # model artifacts, one folder per version
    deadline_ms: int  # a decision later than this is answered with the placement's fallback
    records_hours: int  # records stay in the store so long once they are in history,
    records_mb: int  # or until all records in the store take more than so many MB
    amp_senders: frozenset[str]  # addresses whose AMP mails may read content, in lower case
    demo: bool  # accept `demo-key` from this machine; only `nextbest run` sets it

    @property
    def store_dir(self) -> Path:
        """Home of the embedded store."""
        return self.data_dir / "store"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """Settings with their defaults. Raises SettingsFaulty naming the variable that cannot be read."""
        data_dir = Path(environment.get("NEXTBEST_DATA_DIR", ".nextbest"))
        return cls(
            redis_url=_store_url(environment),
            data_dir=data_dir,
            history_dir=Path(environment.get("NEXTBEST_HISTORY_DIR", data_dir / "history")),
            models_dir=Path(environment.get("NEXTBEST_MODELS_DIR", data_dir / "models")),
            deadline_ms=_positive(environment, "NEXTBEST_DEADLINE_MS", 250),
            records_hours=_positive(environment, "NEXTBEST_RECORDS_HOURS", 24),
            records_mb=_positive(environment, "NEXTBEST_RECORDS_MB", 512),
            amp_senders=frozenset(environment.get("NEXTBEST_AMP_SENDERS", "").lower().replace(",", " ").split()),
            demo=environment.get("NEXTBEST_DEMO") == "1",
        )


def _store_url(environment: Mapping[str, str]) -> str | None:
    url = environment.get("NEXTBEST_REDIS_URL") or None
    if url is None:
        return None
    try:
        connect(url)  # which happens at its first use; until then the URL is only read
    except ValueError as error:
        # A parser quotes what it takes for the port, a host or an option, and that is a piece of the password where it
        # holds a character of its own meaning.
        reason = str(error)
        if "@" in unquote(url):
            reason = (
                "its scheme, host, port or an option is wrong; "
                "in a password write / as %2F, # as %23, ? as %3F, [ as %5B and ] as %5D"
            )
        elif reason.startswith("Port could not be cast"):
            reason = "its port is no number; in a password write / as %2F and # as %23"
        raise SettingsFaulty(
            f"NEXTBEST_REDIS_URL cannot be read: {reason.rstrip('.')}. Write redis://HOST:PORT, rediss://HOST:PORT, "
            "unix:///PATH or redis+cluster://HOST:PORT,HOST:PORT, or unset it for a store in NEXTBEST_DATA_DIR."
        ) from None
    return url


def _positive(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name, str(default))
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise SettingsFaulty(f"{name}={text!r} is not a whole number above 0. Unset it for the default, {default}.")
    return int(text)
