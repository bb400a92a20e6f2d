"""What a mail fetches when it is opened: the picture of what was decided, drawn here."""
