"""The `awares-edge` command: errors become one line and exit code 2."""

from __future__ import annotations

import errno
import os
import sys
from typing import Annotated

import typer

from awares_edge._version import __version__
from awares_edge.apps import (
    ask,
    build_engine,
    demo,
    evaluate,
    export,
    importance,
    inspect,
    parity,
    profile,
    runtimes,
    train,
)
from awares_edge.apps.console import printable
from awares_edge.errors import AwaresError

app = typer.Typer(
    name="awares-edge",
    help="AwaRes vision-language models on the edge: look at low resolution first, "
    "fetch only the crops that matter.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command("demo", epilog=demo.EPILOG)(demo.demo)
app.command("ask", epilog=ask.EPILOG)(ask.ask)
app.command("export", epilog=export.EPILOG)(export.export)
app.command("build-engine", epilog=build_engine.EPILOG)(build_engine.build_engine)
app.command("importance", epilog=importance.EPILOG)(importance.importance)
app.command("inspect", epilog=inspect.EPILOG)(inspect.inspect)
app.command("runtimes", epilog=runtimes.EPILOG)(runtimes.runtimes)
app.command("parity", epilog=parity.EPILOG)(parity.parity)
app.command("profile", epilog=profile.EPILOG)(profile.profile)
app.add_typer(evaluate.app)
app.add_typer(train.app)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"awares-edge {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the full traceback of an error.")
    ] = False,
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", callback=_version, is_eager=True),
    ] = False,
) -> None:
    # `main` looks for --debug itself, and a callback acts on --version: here they are for --help.
    del debug, version


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; the exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in arguments
    # Accepted anywhere, because people append it to the command that failed.
    arguments = [a for a in arguments if a != "--debug"]
    try:
        code = app(arguments, standalone_mode=False)
        sys.stdout.flush()
        # typer turns Ctrl-C into a return value.
        return _fail("interrupted", 130) if code == 130 else code or 0
    except (AwaresError, OSError, MemoryError) as error:
        if debug:
            raise
        if isinstance(error, BrokenPipeError):
            # The reader of our output has gone: nothing is wrong, and nothing can be printed.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        return _fail(_explain(error))
    except (KeyboardInterrupt, typer.Abort):
        return _fail("interrupted", 130)
    except typer.Exit as stop:
        return int(stop.exit_code)
    except Exception as error:
        # typer's own usage errors print themselves; they need not be told from click's version.
        if debug or not hasattr(error, "show"):
            raise
        error.show()
        return 2


def _explain(error: BaseException) -> str:
    if isinstance(error, MemoryError):
        return "not enough memory: use a smaller model, precision or --context"
    if isinstance(error, OSError) and not isinstance(error, AwaresError):
        if error.errno == errno.ENOSPC:
            return "no space left on the device: free some, or write somewhere else"
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or error}"
    return str(error)


def _fail(message: str, code: int = 2) -> int:
    line = " ".join(message.split())
    print(f"awares-edge: {printable(line)}", file=sys.stderr)
    return code


def entry() -> None:
    """Console script."""
    sys.exit(main())


if __name__ == "__main__":
    entry()
