"""The `likeness` command: a user's mistake, a machine's refusal and Ctrl-C are shown without a traceback."""

import os
import sys
import warnings
from collections.abc import Sequence

from rich.console import Console

from likeness.errors import UserError
from likeness.files import explained


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of `likeness`."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    console = Console(stderr=True, soft_wrap=True)
    warnings.formatwarning = lambda message, *_: f"warning: {message}\n"  # a user has no use for the line of code
    try:
        run(words)
    except UserError as error:
        console.print(f"[bold red]error:[/] {_escaped(str(error))}", highlight=False)
        raise SystemExit(2) from None
    except KeyboardInterrupt as stopped:
        console.print(_escaped(str(stopped)) or "interrupted", highlight=False)
        raise SystemExit(130) from None
    except BrokenPipeError:
        # The reader of a pipe (`| head`) has enough; what is still buffered must not fail again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(141) from None
    except OSError as error:
        told = explained(error, error.filename)
        if not isinstance(told, UserError):
            raise
        console.print(f"[bold red]error:[/] {_escaped(str(told))}", highlight=False)
        raise SystemExit(2) from None


def run(words: list[str]) -> None:
    """Carry out one command line (without the program's name)."""
    # Loaded here, where Ctrl-C in the seconds that torch takes is caught too.
    from likeness.cli.dispatch import dispatch

    dispatch(words)


def _escaped(text: str) -> str:
    return text.replace("[", r"\[")


if __name__ == "__main__":
    main()
