"""The one exception for mistakes a user can make and mend."""

from pathlib import Path


class UserError(Exception):
    """A mistake in what the user gave; the command line shows its text alone, without a traceback.

    Say what was found, what was expected and how to mend it. `path` names the file or folder at fault, if there is one.
    """

    def __init__(self, message: str, *, path: str | Path | None = None):
        self.path = None if path is None else Path(path)
        super().__init__(message if path is None else f"{path}: {message}")
