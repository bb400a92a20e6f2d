"""Operations: what can be asked of the service, each as it travels over HTTP. The same one is done on both sides."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

from api.errors import Problem
from api.respond import understood
from api.schemas import ResponseRequest
from api.taking import count_kept, take
from decisioning.history.load import load_customers
from tests.any_order.sides import Side
from tests.any_order.town import CHANNELS, VARIANTS
from tests.email.post import APPLE, BROWSER, PERSON, SCANNER

Result = tuple[int, Any]  # status and body
STRANGE = {"user-agent": "Strange/1.0"}
READERS = {"person": PERSON, "proxy": APPLE, "unknown": STRANGE, "scanner": SCANNER}
FOLLOWERS = {"person": BROWSER, "unknown": STRANGE, "scanner": SCANNER}


@dataclass(frozen=True)
class Ask:
    """A decision."""

    customer: str
    placements: tuple[str, ...]
    context: dict[str, str]
    dry_run: bool = False
    key: str | None = None
    sending: bool = False

    @property
    def channel(self) -> str:
        return self.placements[0].split(".")[0]

    async def on(self, side: Side) -> Result:
        body: dict[str, Any] = {
            "customer": {"id": self.customer},
            "channel": self.channel,
            "placements": self.placements,
            "context": self.context,
            "dry_run": self.dry_run,
            "sending": self.sending,
        }
        return await side.call(
            "POST", "/v1/decisions", body | ({} if self.key is None else {"idempotency_key": self.key})
        )


@dataclass(frozen=True)
class Tell:
    """A response; what it answers is named by token, by decision, or by customer."""

    customer: str
    outcome: str
    named: dict[str, Any]
    about: tuple[str, ...]  # decision, placement and action, or nothing
    key: str | None = None
    at: str | None = None

    @property
    def identity(self) -> tuple[str, ...] | None:
        """What makes two reports the same; None: nothing can."""
        if self.key is not None:
            return ("key", self.customer, self.key)
        return ("decision", *self.about, self.outcome) if self.about else None

    async def on(self, side: Side) -> Result:
        optional = {"idempotency_key": self.key, "at": self.at}
        stated = {name: value for name, value in optional.items() if value is not None}
        return await side.call("POST", "/v1/responses", {"outcome": self.outcome, **self.named, **stated})


@dataclass(frozen=True)
class Browse:
    """Many impressions of one thing shown, in one batch."""

    customer: str
    token: str
    keys: tuple[str, ...]

    async def on(self, side: Side) -> Result:
        each = {"outcome": "impression", "event_token": self.token}
        return await side.call(
            "POST", "/v1/responses", {"responses": [{**each, "idempotency_key": key} for key in self.keys]}
        )


@dataclass(frozen=True)
class Patch:
    """Attributes set, or forgotten with None."""

    customer: str
    attributes: dict[str, Any]

    async def on(self, side: Side) -> Result:
        return await side.call("PATCH", f"/v1/customers/{self.customer}", {"attributes": self.attributes})


@dataclass(frozen=True)
class Consent:
    """A permission given or withdrawn."""

    customer: str
    channel: str
    purpose: str
    granted: bool
    at: str | None = None

    async def on(self, side: Side) -> Result:
        statement = {"channel": self.channel, "purpose": self.purpose, "granted": self.granted}
        stated = {} if self.at is None else {"at": self.at}
        return await side.call("PUT", f"/v1/customers/{self.customer}/consents", [{**statement, **stated}])


@dataclass(frozen=True)
class Erase:
    """Forget a customer."""

    customer: str

    async def on(self, side: Side) -> Result:
        return await side.call("DELETE", f"/v1/customers/{self.customer}")


@dataclass(frozen=True)
class Load:
    """Rows of a table, as the loader takes them."""

    customer: str
    income: float
    granted: bool
    columns: ClassVar[str] = "customer_id,income,consent.email.marketing"

    async def on(self, side: Side) -> Result:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "customers.csv")
            path.write_text(f"{self.columns}\n{self.customer},{self.income},{str(self.granted).lower()}\n")
            summary = await load_customers(
                [path],
                VARIANTS["base"].schema,
                side.desk.store,
                channels=CHANNELS,
                at_ms=side.clock.now_ms,
                rejects_path=Path(folder, "rejects.csv"),
                progress=lambda done, total: None,
            )
        return 200, (summary.loaded, summary.unchanged, summary.rejected)


@dataclass(frozen=True)
class Why:
    """An explanation of a recorded decision."""

    customer: str
    decision_id: str

    async def on(self, side: Side) -> Result:
        return await side.call("GET", f"/v1/decisions/{self.decision_id}")


@dataclass(frozen=True)
class Open:
    """A mail's picture is fetched."""

    customer: str
    token: str
    by: str

    async def on(self, side: Side) -> Result:
        return await side.fetch(f"/e/{self.token}.png", READERS[self.by])


@dataclass(frozen=True)
class Follow:
    """A mail's link is followed; down: while the store is."""

    customer: str
    token: str
    by: str
    down: bool = False

    async def on(self, side: Side) -> Result:
        with side.out_of_reach(self.down):
            return await side.fetch(f"/c/{self.token}", FOLLOWERS[self.by])


@dataclass(frozen=True)
class Answer:
    """What a page's beacon or an agent tells, who cannot tell it again; down: while the store is."""

    customer: str
    outcome: str
    token: str
    about: tuple[str, ...]  # decision, placement and action
    down: bool = False
    by: ClassVar[str] = "person"

    @property
    def identity(self) -> tuple[str, ...]:
        """What makes two reports the same."""
        return ("decision", *self.about, self.outcome)

    async def on(self, side: Side) -> Result:
        service = side.desk.service
        call: Any = SimpleNamespace(service=service)
        with side.out_of_reach(self.down):
            try:
                said = ResponseRequest(event_token=self.token, outcome=self.outcome)
                [status] = await take(service, await understood(call, said, service.deployed(), ""))
                return 200, {"status": status}
            except Problem as problem:
                return problem.status, problem.body()


@dataclass(frozen=True)
class Replay:
    """What was kept while the store was down is counted; crashed: the server dies before it can forget that."""

    customer: str
    kept: tuple[Follow | Answer, ...]
    crashed: bool

    async def on(self, side: Side) -> Result:
        for kind, fields in side.journal.entries:
            await count_kept(side.desk.service, kind, fields)
        if not self.crashed:
            side.journal.entries.clear()
        return 200, None


Operation = Ask | Tell | Browse | Patch | Consent | Erase | Load | Why | Open | Follow | Answer | Replay


def touched(operation: Operation) -> set[str]:
    """The customers that an operation is about."""
    return {operation.customer} | {each.customer for each in getattr(operation, "kept", ())}


@dataclass
class Shown:
    """One thing that an answer showed, and what a response may name it by."""

    customer: str
    decision_id: str
    placement: str
    action: str
    token: str
    at_ms: int
