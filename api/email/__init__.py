"""What a mail fetches when it is opened: the picture of what was decided, drawn here."""

from api.email.inspection import inspect
from api.email.pictures import SCALES, Drawing, Flaw, Pictures, Prepared, prepare

__all__ = ["SCALES", "Drawing", "Flaw", "Pictures", "Prepared", "inspect", "prepare"]
