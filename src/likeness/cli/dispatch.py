"""Which command answers a command line, and the list of them all."""

import difflib
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from likeness import __version__
from likeness.cli.arguments import call
from likeness.cli.train import train_command
from likeness.engine.method import resolve
from likeness.errors import UserError
from likeness.methods.registry import METHODS, method, methods

COMMANDS = {
    "demo": "likeness.cli.demo:demo",
    "doctor": "likeness.cli.doctor:doctor",
    "view": "likeness.viewer.view:view",
    "cache clear": "likeness.capture.cache:clear_cache",
    "extract heads": "likeness.perception.extract_heads:extract_heads",
    "heads split": "likeness.perception.head_sets:split_frames",
    "heads hold-out": "likeness.perception.head_sets:hold_out",
    "heads person-set": "likeness.perception.head_sets:person_set",
    "heads video-set": "likeness.perception.head_sets:video_set",
    "heads metrics-set": "likeness.perception.head_sets:metrics_set",
    "heads yaws": "likeness.perception.head_sets:extract_yaws",
    "heads distances": "likeness.perception.head_sets:keypoint_distances",
}
"""Commands that belong to no method."""


def dispatch(words: list[str]) -> None:
    """Carry out one command line (without the program's name)."""
    if not words or words[0] in ("-h", "--help", "help"):
        overview()
        return
    if words[0] == "--version":
        print(__version__)
        return
    commands = COMMANDS | {name: target for entry in methods() for name, target in entry.commands.items()}
    for length in (2, 1):
        name = " ".join(words[:length])
        if name in commands:
            rest = words[length:]
            owner = next((entry for entry in methods() if name in entry.commands), None)
            if owner is not None and owner.compat is not None:
                rest = resolve(owner.compat)(name, rest)
            call(resolve(commands[name]), rest, f"likeness {name}")
            return
    verb = words[0]
    verbs = {"train"} | {name.split()[0] for entry in methods() for name in entry.verbs}
    follow = sorted(name.split()[1] for name in commands if name.startswith(f"{verb} "))
    if verb not in verbs:
        if follow and _asks_for_help(words):
            _print_choices(verb, follow)
            return
        if follow:
            found = f", found {words[1]!r}{_meant(words[1], follow)}" if len(words) > 1 else ""
            raise UserError(f"`likeness {verb}` needs one of: {', '.join(follow)}{found}")
        known = sorted(verbs | {name.split()[0] for name in commands})
        raise UserError(f"there is no command {verb!r}{_meant(verb, known)}: choose one of {', '.join(known)}")
    if len(words) == 1 or words[1] not in METHODS:
        able = [entry.name for entry in methods() if verb == "train" or verb in entry.verbs]
        if _asks_for_help(words):
            _print_choices(verb, able + follow)
            return
        found = f", found {words[1]!r}{_meant(words[1], able + follow)}" if len(words) > 1 else ""
        raise UserError(f"`likeness {verb}` needs one of: {', '.join(able + follow)}{found}")
    chosen, rest = method(words[1]), words[2:]
    if chosen.compat is not None:
        rest = resolve(chosen.compat)(verb, rest)
    mode = f"{verb} {rest[0]}" if rest else ""
    if verb == "train":
        train_command(chosen, rest)
    elif mode in chosen.verbs:
        call(resolve(chosen.verbs[mode]), rest[1:], f"likeness {verb} {chosen.name} {rest[0]}")
    elif verb in chosen.verbs:
        call(resolve(chosen.verbs[verb]), rest, f"likeness {verb} {chosen.name}")
    else:
        raise UserError(f"{chosen.name} has no `{verb}`; it has train, {', '.join(sorted(chosen.verbs))}")


def overview() -> None:
    """Print every command, with the methods that answer it."""
    table = Table(title=f"likeness {__version__}", show_header=False, box=None)
    known = methods()
    for verb in sorted({"train"} | {name for entry in known for name in entry.verbs}):
        able = [entry.name for entry in known if verb == "train" or verb in entry.verbs]
        first, _, mode = verb.partition(" ")
        table.add_row(f"likeness {first}", f"{' | '.join(able)} {mode}".rstrip())
    for name in sorted(COMMANDS | {command: "" for entry in known for command in entry.commands}):
        table.add_row(f"likeness {name}", "")
    for entry in known:
        table.add_row(entry.name, entry.summary)
    Console().print(table)
    print("Add --help to any of these.")


def _meant(word: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(word, known, 1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _asks_for_help(words: list[str]) -> bool:
    return words[1:2] in (["-h"], ["--help"])


def _print_choices(verb: str, choices: list[str]) -> None:
    for choice in choices:
        print(f"likeness {verb} {choice}")
    print("Add --help to any of these.")
