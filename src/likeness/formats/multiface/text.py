"""Small text files, read with errors that name the file and the remedy."""

import json
from pathlib import Path

from likeness.errors import UserError


def file_bytes(path: Path, what: str) -> bytes:
    """Content of a file that holds `what`."""
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"absent, {what} cannot be read: fetch it, or take the frame off the list", path=path) from None


def file_text(path: Path, what: str) -> str:
    """The same as text."""
    try:
        return file_bytes(path, what).decode("utf-8")
    except UnicodeDecodeError:
        raise UserError(f"is no text, {what} cannot be read", path=path) from None


def file_json(path: Path) -> object:
    """The document in a JSON file."""
    try:
        return json.loads(file_text(path, "the list"))
    except json.JSONDecodeError as error:
        raise UserError(f"is no JSON ({error})", path=path) from None


def numbers(line: str) -> list[float]:
    """The numbers of a line; none where a word is no number."""
    try:
        return [float(value) for value in line.split()]
    except ValueError:
        return []
