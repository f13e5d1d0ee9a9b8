"""The `awares-edge` command: errors, wrong usage included, become one line and exit code 2."""

from __future__ import annotations

import errno
import sys
from typing import Annotated, Any

import typer

from awares_edge._version import __version__
from awares_edge.apps import (
    ask,
    build_engine,
    calibrate,
    camera,
    chat,
    demo,
    evaluate,
    export,
    inspect,
    mcp,
    parity,
    profile,
    protocols,
    runtimes,
    score,
    serve,
    train,
)
from awares_edge.apps.console import printable
from awares_edge.apps.stopping import EXIT_CODES, Stop, stop_on_signals
from awares_edge.apps.streams import lasting_streams
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
app.command("chat", epilog=chat.EPILOG)(chat.chat)
app.command("camera", epilog=camera.EPILOG)(camera.camera)
app.command("export", epilog=export.EPILOG)(export.export)
app.command("build-engine", epilog=build_engine.EPILOG)(build_engine.build_engine)
app.command("inspect", epilog=inspect.EPILOG)(inspect.inspect)
app.command("runtimes", epilog=runtimes.EPILOG)(runtimes.runtimes)
app.command("score", epilog=score.EPILOG)(score.score)
app.command("parity", epilog=parity.EPILOG)(parity.parity)
app.command("profile", epilog=profile.EPILOG)(profile.profile)
app.command("evaluate", epilog=evaluate.EPILOG, no_args_is_help=True)(evaluate.evaluate)
app.add_typer(protocols.app)
app.add_typer(calibrate.app)
app.command("serve", epilog=serve.EPILOG)(serve.serve)
app.command("mcp", epilog=mcp.EPILOG)(mcp.mcp)
app.add_typer(train.app)


def _version(value: bool) -> None:
    if value:
        print(f"awares-edge {__version__}")
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
    """Run the command line; the exit code.

    0: done, or the reader of the output has gone. 2: not done, or its result could not be printed.
    130: Ctrl-C. 143: SIGTERM.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    with lasting_streams() as out:
        with stop_on_signals() as stop:
            code = _run(*_split_debug(arguments), stop)
        out.flush()
        if code == 0 and out.failure and not out.reader_has_gone:
            reason = getattr(out.failure, "strerror", None) or out.failure
            return _fail(f"the result could not be written to standard output: {reason}")
        return code


def _split_debug(arguments: list[str]) -> tuple[list[str], bool]:
    """`--debug` is accepted anywhere before `--`: people append it to the command that failed."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    options = [a for a in arguments[:end] if a != "--debug"]
    return options + arguments[end:], len(options) < end


def _run(arguments: list[str], debug: bool, signalled: Stop) -> int:
    try:
        code = _invoke(arguments, signalled)
        # typer turns Ctrl-C into a return value.
        return _fail("interrupted", 130) if code == 130 else code or 0
    except (AwaresError, OSError, MemoryError) as error:
        if debug:
            raise
        return _fail(_explain(error))
    except (KeyboardInterrupt, typer.Abort):
        return _fail("interrupted", 130)
    except SystemExit as stop:
        if stop.code not in EXIT_CODES:
            raise
        return _fail("terminated", stop.code)
    except typer.Exit as stop:
        return int(stop.exit_code)
    except Exception as error:
        # Wrong usage: the classes are typer's or click's, depending on typer's version.
        if not hasattr(error, "format_message"):
            raise
        return _usage(error)


def _invoke(arguments: list[str], signalled: Stop) -> int | None:
    """What typer returns: None, or an exit code."""
    try:
        code: int | None = app(arguments, standalone_mode=False, prog_name="awares-edge")
    except BaseException as error:
        # Python 3.11 turns a SystemExit that crosses `__set_name__` into a RuntimeError.
        if signalled.code is None:
            raise
        raise SystemExit(signalled.code) from error
    return code


def _usage(error: Any) -> int:
    """One line for wrong usage; nothing after the help that a command without arguments prints."""
    message = str(error.format_message()).strip().rstrip(".")
    if not message:
        return 2
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "awares-edge"
    return _fail(f"{message} (see {command} --help)")


def _explain(error: BaseException) -> str:
    if isinstance(error, MemoryError):
        return "not enough memory: use a smaller model, precision or --context"
    if isinstance(error, OSError) and not isinstance(error, AwaresError):
        where = f"{error.filename}: " if error.filename else ""
        if error.errno == errno.ENOSPC:
            return f"{where}no space left on the device: free some, or write somewhere else"
        return f"{where}{error.strerror or error}"
    return str(error)


def _fail(message: str, code: int = 2) -> int:
    print(f"awares-edge: {printable(' '.join(message.split()))}", file=sys.stderr)
    return code
