"""Loading: customers from tables into the store.

A row says what one or more sources knew of one customer at `at_ms`. Rows are merged into profiles and consents customer
by customer, and a batch is read and committed in one round trip each. Loading a file again writes nothing.
"""

from __future__ import annotations

import csv
import os
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from decisioning import consent
from decisioning.catalog.schema import Schema
from decisioning.consent import Statement
from decisioning.customer import Consent, Profile, Snapshot, SourceFacts
from decisioning.history.facts import SOURCE, Facts, Plan, Reject, mapping_by_names
from decisioning.history.mapping import TableMapping
from decisioning.history.tables import row_count
from decisioning.profile import restated
from decisioning.store.protocol import Change, Committed, Lost, Store

BATCH_ROWS = 500  # a round trip then carries about 1 MB
ATTEMPT_COUNT = 20  # against others who change the same customer at the same moment
RENEWED_AFTER_MS = 3_600_000  # saying the same again writes a newer time, but not for less than this
VALUE_LENGTH_MAX = 200  # of an offending value in the file of rejects


@dataclass(slots=True)
class Summary:
    """What became of the rows."""

    rows: int = 0
    loaded: int = 0  # rows of customers that were written
    unchanged: int = 0  # rows of customers of whom they said nothing new
    rejected: int = 0  # rows named in the file of rejects; nothing of them was applied


async def load_customers(
    paths: Sequence[Path],
    schema: Schema,
    store: Store,
    *,
    channels: Collection[str],
    mapping: TableMapping | None = None,
    source: str | None = None,
    at_ms: int,
    rejects_path: Path,
    progress: Callable[[int, int], None],
) -> Summary:
    """Load files into the store.

    channels      the strategy's channels, which consents may name
    mapping       None: the columns are customer_id, attribute names, and consent.<channel>.<purpose>
    source        who says it; None: as the mapping or the schema says
    at_ms         when it was so; what a source said later stays
    rejects_path  CSV of file, row, column, value and reason; there is none when no row was rejected
    progress      called with the rows done and the rows in all
    Raises MappingFaulty or TableFaulty; before anything is written, unless a file is damaged further down.
    """
    said_by = source or (mapping.source if mapping else None)
    plans = [
        Plan(path, mapping or mapping_by_names(path, schema), schema, channels, said_by, now_ms=at_ms) for path in paths
    ]
    total = sum(row_count(path) for path in paths)
    news = News(schema, at_ms, said_by or SOURCE)
    summary = Summary()
    with Rejects(rejects_path) as rejects:
        for plan in plans:
            for batch in plan.batches(BATCH_ROWS):
                rejects.write(plan.path, batch.rejects)
                written, refused = await _commit(batch.facts, store, news)
                rejects.write(plan.path, refused)
                summary.rows += batch.row_count
                summary.loaded += written
                summary.rejected = rejects.row_count
                summary.unchanged = summary.rows - summary.loaded - summary.rejected
                progress(summary.rows, total)
    return summary


async def _commit(batch: Sequence[Facts], store: Store, news: News) -> tuple[int, list[Reject]]:
    """Apply the facts; how many rows were written, and rejects for customers whom others kept changing."""
    rows_by_key: dict[str, list[Facts]] = defaultdict(list)
    for facts in batch:
        rows_by_key[str(facts.customer_id)].append(facts)
    snapshots = await store.read(list(rows_by_key)) if rows_by_key else []
    row_count = 0
    for _ in range(ATTEMPT_COUNT):
        merged = [news.change(snapshot, rows_by_key[snapshot.customer_key]) for snapshot in snapshots]
        changes = [change for change in merged if change]
        outcomes = await store.commit(changes) if changes else []
        for change, outcome in zip(changes, outcomes, strict=True):
            row_count += len(rows_by_key[change.customer_key]) if isinstance(outcome, Committed) else 0
        snapshots = [outcome.snapshot for outcome in outcomes if isinstance(outcome, Lost)]
        if not snapshots:
            return row_count, []
    lost = [facts for snapshot in snapshots for facts in rows_by_key[snapshot.customer_key]]
    reason = "the customer was changed by others all the time; load the row again"
    return row_count, [Reject(facts.row, "", "", reason) for facts in lost]


@dataclass(frozen=True, slots=True)
class News:
    """Merges rows into what is known of a customer."""

    schema: Schema
    at_ms: int
    said_by: str  # of consents

    def change(self, snapshot: Snapshot, rows: Sequence[Facts]) -> Change | None:
        """The customer's next state and profile, None when the rows say nothing new. Later rows win."""
        at_ms = min(self.at_ms, snapshot.now_ms)  # never later than the store's now: it would shadow what is said next
        sources = dict(snapshot.profile.sources) if snapshot.profile else {}
        consents = snapshot.state.consents
        for facts in rows:
            for source, attributes in facts.attributes.items():
                merged = self._merged(sources.get(source), attributes, at_ms)
                if merged:
                    sources[source] = merged
            consents = consent.taken(consents, self._statements(facts, consents, at_ms), now_ms=snapshot.now_ms)
        profile = Profile(sources)
        if snapshot.profile == profile and consents == snapshot.state.consents:
            return None
        state = replace(snapshot.state, consents=consents)
        records = consent.records_of(snapshot.state.consents, consents, state, received_ms=snapshot.now_ms)
        return Change(snapshot.customer_key, snapshot.state_version, state, profile=profile, records=records)

    def _merged(self, before: SourceFacts | None, attributes: Mapping[str, Any], at_ms: int) -> SourceFacts | None:
        """The source's facts with these taken in, None when they stay as they are.

        Columns that a file lacks stay as they were; a column without a value removes the attribute.
        """
        after = restated(before, attributes, at_ms=at_ms)
        said_nothing = after.attributes == (before.attributes if before else {})
        if said_nothing and not (before and self._renews(before, attributes, at_ms)):
            return None
        return after

    def _renews(self, before: SourceFacts, attributes: Mapping[str, Any], at_ms: int) -> bool:
        """Whether saying the same again matters, because some of it would otherwise go stale."""
        return any(
            self.schema.attributes[f"customer.{name}"].stale_after_ms is not None
            and at_ms - before.times_ms.get(name, before.at_ms) >= RENEWED_AFTER_MS
            for name in attributes
        )

    def _statements(self, facts: Facts, consents: Sequence[Consent], at_ms: int) -> Iterator[Statement]:
        """What a row states. Without a time of its own it is one of the file's time, and only what is new counts: not
        that something still holds, and never a yes where the customer has said no, or an old file that is loaded again
        would bring back what was withdrawn since.
        """
        for (channel, purpose), said in facts.consents.items():
            before = consent.stated_about(consents, channel, purpose)
            if "at_ms" not in said and before is not None and (said["granted"] or not before.granted):
                continue
            yield Statement(channel, purpose, **{"source": self.said_by, "at_ms": at_ms, **said})


class Rejects:
    """The file of rejects, made at the first one. It holds offending values, so only its owner may read it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: TextIO | None = None
        self.row_count = 0

    def __enter__(self) -> Self:
        self._path.unlink(missing_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file:
            self._file.close()

    def write(self, path: Path, rejects: Sequence[Reject]) -> None:
        """Name rejected rows of a file; a row with several bad values has a line for each."""
        if not rejects:
            return
        if self._file is None:
            handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            self._file = open(handle, "w", newline="", encoding="utf-8")  # noqa: SIM115 - __exit__ closes it
            csv.writer(self._file).writerow(("file", "row", "column", "value", "reason"))
        rows = [(path.name, each.row, each.column, each.value[:VALUE_LENGTH_MAX], each.reason) for each in rejects]
        csv.writer(self._file).writerows(rows)
        self.row_count += len({each.row for each in rejects})
