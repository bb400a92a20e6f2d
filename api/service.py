"""The service: what every endpoint of one process shares."""

from __future__ import annotations

from dataclasses import dataclass, field

from api.deadlines import Deadlines
from api.deployed import Deployed
from api.email.studio import Studio
from api.errors import Problem
from api.journal import Journal
from api.keys import KeyRing
from api.live import Live
from api.restocker import Restocker
from api.settings import Settings
from api.tokens import Sealer
from decisioning.store.protocol import Store


@dataclass(slots=True)
class Service:
    """Store, strategy and model in force, keys and seals."""

    settings: Settings
    store: Store
    keys: KeyRing
    live: Live
    sealer: Sealer | None = None  # known once the store has answered for the first time
    deadlines: Deadlines = field(default_factory=Deadlines, init=False)
    restocker: Restocker = field(init=False)
    journal: Journal = field(init=False)  # what people did while the store was down
    studio: Studio = field(init=False)  # where pictures for mails are drawn

    def __post_init__(self) -> None:
        self.restocker = Restocker(self.store, self.live)
        self.journal = Journal(self.settings.data_dir / "journal")
        self.studio = Studio()

    @property
    def seals(self) -> Sealer:
        """The installation's sealer; raises Problem while it is not known."""
        if self.sealer is None:
            raise _not_ready()
        return self.sealer

    def deployed(self) -> Deployed:
        """The pair that decides now; raises Problem while there is none."""
        if self.live.current is None or self.sealer is None:
            raise _not_ready()
        return self.live.current


def _not_ready() -> Problem:
    message = "No strategy, model or store yet. /readyz says which one is missing."
    return Problem("not_ready", message, "server", retry_after_s=2)
