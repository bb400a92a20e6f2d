"""Post book: what each mail showed last, kept from pictures, addresses and records alone.

While a choice lasts that a machine's fetch made, its mail shows it, unless consent, rules or a promise forbid; a link
leads to what was shown last to anybody but a scanner.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.any_order.operations import Erase, Follow, Open, Operation, Result
from tests.any_order.town import HEADLINES, HOME, LINKS, actions_of
from tests.any_order.world import World


@dataclass(frozen=True)
class Seen:
    """What a mail showed last."""

    action: str | None
    until_ms: int
    is_held: bool  # chosen for a machine, and promised to nobody


@dataclass(frozen=True)
class Moment:
    """One step that was alone."""

    world: World  # before it
    decisions: Sequence[Mapping[str, Any]]  # recorded in it
    variant: str
    now_ms: int


class PostBook:
    """Every mail; one that is not in it has shown nothing to anybody who is still there."""

    def __init__(self) -> None:
        self.seen: dict[str, Seen | None] = {}  # by token; None: several operations met, and either may have been last
        self.owners: dict[str, str] = {}

    def take(
        self,
        operations: Sequence[Operation],
        results: Sequence[Result],
        records: Sequence[Mapping[str, Any]],
        before: Mapping[str, World],
        after: Mapping[str, World],
        *,
        variant: str,
        now_ms: int,
    ) -> None:
        """Check one step."""
        decisions = [each for each in records if each["kind"] == "decision"]
        for operation, (_, body) in zip(operations, results, strict=True):
            if isinstance(operation, Open | Follow):
                self.owners[operation.token] = operation.customer
                moment = Moment(before[operation.customer], decisions, variant, now_ms)
                if len(operations) > 1:
                    self.seen[operation.token] = None
                elif not before[operation.customer].view:
                    self._check_stranger(operation, body, records)
                elif isinstance(operation, Open):
                    self._check_opened(operation, body["shown"], moment)
                elif not operation.down:
                    self._check_followed(operation, body["location"], moment)
                else:
                    assert body["location"] == HOME
        for each in operations:
            if isinstance(each, Erase):
                for token in [token for token, owner in self.owners.items() if owner == each.customer]:
                    self._forget(token, is_sure=len(operations) == 1)

    def _forget(self, token: str, *, is_sure: bool) -> None:
        if is_sure:
            self.seen.pop(token, None)
        else:
            self.seen[token] = None

    @staticmethod
    def _check_stranger(operation: Open | Follow, body: Mapping[str, str], records: Sequence[Any]) -> None:
        """Somebody who is not, or no longer, known is shown the brand, and led home."""
        assert not records, "a mail brought somebody back"
        if isinstance(operation, Follow):
            assert body["location"] == HOME
        else:
            assert body["shown"] == ("quiet" if operation.by == "scanner" else "fallback")

    def _check_opened(self, opened: Open, shown: str, moment: Moment) -> None:
        assert shown != "fallback", "a mail was opened, and nothing was in its way"
        action = HEADLINES.get(shown)
        assert shown == "quiet" or action is not None
        if opened.by == "scanner":
            assert shown == "quiet" and not moment.decisions
            return
        seen = self.seen.get(opened.token)
        if opened.by != "person" and self._must_stay(seen, moment):
            assert seen is not None and action == seen.action, f"{seen} changed to {action} while it lasted"
        if moment.decisions:
            self._note(opened.token, moment)
        elif opened.token in self.seen and seen is not None:
            assert opened.by != "person" and action == seen.action, "what was shown is not on record"
        if noted := self.seen.get(opened.token):
            assert noted.action == action, "the record has something else than the picture"
        assert action is None or moment.world.permits(action, "email", moment.variant), "a picture against consent"
        assert action is None or moment.world.stands(action, moment.variant, moment.now_ms), "against the rules"

    @staticmethod
    def _must_stay(seen: Seen | None, moment: Moment) -> bool:
        """True while nothing permits another picture than the one that is held."""
        return (
            seen is not None
            and seen.action is not None
            and seen.is_held
            and seen.until_ms > moment.now_ms
            and not moment.world.view["lease"]
            and seen.action in actions_of(moment.variant)
            and moment.world.permits(seen.action, "email", moment.variant)
            and moment.world.verdict(seen.action, {}, moment.now_ms) is True
        )

    def _check_followed(self, followed: Follow, location: str, moment: Moment) -> None:
        address, _, query = location.partition("?")
        assert not (followed.by == "scanner" and query), "a scanner was handed an event token"
        is_undecided = followed.token not in self.seen and followed.by != "scanner"
        is_unsure = followed.token in self.seen and self.seen[followed.token] is None
        if moment.decisions:
            assert is_undecided or is_unsure, "a link was decided that led somewhere already"
            self._note(followed.token, moment)
        assert moment.decisions or not is_undecided, "a link whose picture nobody fetched was not decided"
        if followed.token not in self.seen:
            assert address == HOME
        elif (seen := self.seen[followed.token]) is not None:
            is_shown = seen.action in actions_of(moment.variant) and moment.world.permits(
                str(seen.action), "email", moment.variant
            )
            assert address == (LINKS.get(str(seen.action), HOME) if is_shown else HOME), "a link led elsewhere"

    def _note(self, token: str, moment: Moment) -> None:
        """What the one decision of this step shows."""
        [record] = moment.decisions
        [placed] = record["placements"]
        is_drawn = placed["selection_probability"] is not None
        is_held = is_drawn and record["client_class"] != "person"
        self.seen[token] = Seen(placed["action"], placed["valid_until_ms"], is_held)
