"""The originals' command lines rewritten to ours: train, validate, render; the texture predictor's train, inference.

What has no counterpart is dropped and told with its reason; a flag that neither side knows is refused by name. Where
a line of the original leaves a flag out, its own default counts, not ours.
"""

import dataclasses
import shlex
from collections.abc import Mapping, Sequence

from likeness.errors import UserError
from likeness.methods.neural_actor.compat_rules import Dropped, Rule
from likeness.methods.neural_actor.compat_tables import ORIGINALS, TABLES, TEXTURE_TRAIN, TRAIN
from likeness.methods.neural_actor.config import PRESETS
from likeness.methods.neural_actor.vid2vid.config import PRESETS as TEXTURE_PRESETS


def rewrite(verb: str, arguments: Sequence[str]) -> list[str]:
    """Rewrite the words after `likeness VERB neural_actor`; lines without a flag that only the originals have pass.

    Raises:
        UserError: a flag neither side knows, or a value that has no counterpart.
    """
    if verb == "train" and _names(arguments) & {"traindir", "logdir"}:
        ours = _own_flags(TEXTURE_PRESETS["paper"])
        return _told(verb, ["--stage", "texture", *_translated(TEXTURE_TRAIN, arguments, ours)])
    if verb == "train" and _is_originals(arguments, _own_flags(PRESETS["paper"])):
        return _told(verb, ["--stage", "renderer", *_translated(TRAIN, arguments, _own_flags(PRESETS["paper"]))])
    if verb == "extract actor" and "-i" in arguments:
        return _extraction(arguments)
    if verb in TABLES and _names(arguments) & ORIGINALS[verb]:
        return _told(verb, _translated(TABLES[verb], arguments, None))
    return list(arguments)


def _extraction(arguments: Sequence[str]) -> list[str]:
    """`run_ffmpeg_uncompress.py -i SPLIT [-o OUT] [-c c0,c1] [-f f0,f1]`."""
    pairs = dict(zip(arguments[::2], arguments[1::2]))
    unknown = [flag for flag in pairs if flag not in ("-i", "-o", "-c", "-f")]
    if unknown or len(arguments) % 2:
        raise UserError(f"expected -i SPLIT [-o OUT] [-c c0,c1] [-f f0,f1], found {shlex.join(arguments)}")
    words = [pairs["-i"], pairs.get("-o", pairs["-i"])]
    for flag, ours in (("-f", "--frames"), ("-c", "--cameras")):
        words += [ours, pairs[flag]] if flag in pairs else []
    print(f"likeness extract actor {shlex.join(words)}")
    return words


def _told(verb: str, words: list[str]) -> list[str]:
    print(f"likeness {verb} neural_actor {shlex.join(words)}")
    return words


def _is_originals(arguments: Sequence[str], ours: set[str]) -> bool:
    positional = bool(arguments) and not arguments[0].startswith("--")
    return positional or bool(_names(arguments) & (TRAIN.keys() - ours))


def _names(arguments: Sequence[str]) -> set[str]:
    return {_name(word) for word in arguments if word.startswith("--")}


def _name(word: str) -> str:
    return word[2:].partition("=")[0].replace("_", "-").lower()


def _translated(table: Mapping[str, Rule], arguments: Sequence[str], ours: set[str] | None) -> list[str]:
    given, own = _read(table, arguments, ours)
    words: list[str] = ["--data", given["data"]] if "data" in given else []
    for name, rule in table.items():
        value = given.get(name, rule.default)
        if value is None:
            continue
        try:
            words += rule.translate(value, given)
        except Dropped as reason:
            if name in given:
                print(f"--{name} is dropped: {reason}")
        except UserError as error:
            raise UserError(f"--{name}: {error}") from None
        except ValueError:
            raise UserError(f"--{name}: expected a number, found {value!r}") from None
    return words + own


def _read(
    table: Mapping[str, Rule], arguments: Sequence[str], ours: set[str] | None
) -> tuple[dict[str, str], list[str]]:
    """Split into the original's flags (with `data`, the positional argument) and our own words."""
    given: dict[str, str] = {}
    own: list[str] = []
    index = 0
    while index < len(arguments):
        word, equals, inline = arguments[index].partition("=")
        index += 1
        name = _name(word)
        if not word.startswith("--"):
            if "data" in given:
                raise UserError(f"found {word!r} besides the data set {given['data']!r}: expected one folder")
            given["data"] = word
            continue
        values = [inline] if equals else []
        lone = name in table and table[name].switch
        while not equals and not lone and index < len(arguments) and not arguments[index].startswith("--"):
            values.append(arguments[index])
            index += 1
            if name in table and not table[name].many:
                break
        if name in table:
            if not values and not lone:
                raise UserError(f"--{name} needs a value")
            given[name] = " ".join(values) if values else "True"
        elif ours is None or name in ours:
            own += [word, *values]
        else:
            raise UserError(f"--{name} is no flag of the original nor one of ours: see `likeness train --help`")
    return given, own


def _own_flags(config: object, prefix: str = "") -> set[str]:
    """Names of all our options, as tyro spells them."""
    names = {"preset", "stage", "dry-run"} if not prefix else set()
    for field in dataclasses.fields(config):  # type: ignore[arg-type]
        value, name = getattr(config, field.name), prefix + field.name.replace("_", "-")
        if dataclasses.is_dataclass(value):
            names |= _own_flags(value, f"{name}.")
        else:
            names |= {name, f"{prefix}no-{field.name.replace('_', '-')}"}
    return names
