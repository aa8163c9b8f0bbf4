"""The typer application: the list of commands, and how a command line ends."""

from __future__ import annotations

import math
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from types import FrameType
from typing import Annotated, Any

import typer
from typer.exceptions import Abort, Exit, TyperException

from mlconvert.cli import (
    bench,
    bom,
    bundle,
    check,
    convert,
    deploy,
    doctor,
    fingerprint,
    inspect,
    lint,
    merge,
    repositories,
    routes,
    samples,
    verify,
)
from mlconvert.cli import run as run_command
from mlconvert.errors import MlconvertError, UsageError
from mlconvert.version import __version__

INTERRUPTED = 130  # 128 + SIGINT, as shells have it
TERMINATED = 143  # 128 + SIGTERM
CLEAN_UP_SECONDS = 3.0

COMMANDS: tuple[tuple[str, Callable[..., Any], str], ...] = (
    ("convert", convert.convert, "Convert a model and prove the result."),
    ("run", run_command.run, "Run a recipe: convert, verify, publish."),
    ("bundle", bundle.bundle, "Pack a recipe into one file, to be built elsewhere."),
    ("build-bundle", bundle.build_bundle, "Build what was packed, into one file."),
    ("verify", verify.verify, "Compare two models, or test an artifact."),
    ("bench", bench.bench, "Measure a model and its artifacts side by side."),
    ("samples", samples.samples, "Generate samples from a model's signature."),
    ("inspect", inspect.inspect, "Show what a model is and how it was proven."),
    ("routes", routes.routes, "Show what can become what, with options."),
    ("doctor", doctor.doctor, "Show which packages are there or missing."),
    ("publish", repositories.publish, "Publish an artifact as a new version."),
    ("merge", merge.merge, "Put engines of several GPUs into one Triton model."),
    ("versions", repositories.versions, "List the versions of a published model."),
    ("rollback", repositories.rollback, "Go back to an older version."),
    ("labels", repositories.labels, "Label versions, and serve those (A/B)."),
    ("lint", lint.lint, "Find what a server would trip over in a repository."),
    ("check", check.check, "Tell whether it will run on a machine's hardware."),
    ("deploy", deploy.deploy, "Write files that start a server for a repository."),
    ("fingerprint", fingerprint.fingerprint, "Show the hardware that an engine would be bound to."),
    ("bom", bom.bom, "Write what an artifact was made from and with."),
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mlconvert {__version__}")
        raise typer.Exit


def application() -> typer.Typer:
    app = typer.Typer(
        name="mlconvert",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,  # rich's help would double the time of --help: it imports Markdown and highlighters
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )

    @app.callback(epilog="Every command has an example: mlconvert COMMAND --help")
    def mlconvert(
        version: Annotated[
            bool, typer.Option("--version", help="Print the version and exit.", callback=_version, is_eager=True)
        ] = False,
    ) -> None:
        """From a trained model to a verified, ready-to-serve repository, with the evidence beside it."""

    for name, function, about in COMMANDS:
        app.command(name, short_help=about)(function)
    return app


def run(argv: list[str]) -> int:
    """Run the command line; the exit code. Nothing but this function turns an error into text."""
    terminated: list[int] = []
    previous = _on_stop(terminated)
    warnings.formatwarning = lambda message, *_: f"warning: {message}\n"
    try:
        result = application()(args=argv, prog_name="mlconvert", standalone_mode=False)
        if result == INTERRUPTED:  # what typer makes of any KeyboardInterrupt; our commands never give it
            return _stopped(terminated=bool(terminated))
        return result if isinstance(result, int) else 0
    except Exit as stop:
        return stop.exit_code
    except TyperException as error:
        return _end(argv, _usage(error))
    except MlconvertError as error:
        return _end(argv, error)
    except (KeyboardInterrupt, Abort):
        return _stopped(terminated=bool(terminated))
    except Exception as error:  # noqa: BLE001 - a bug of ours: told as one, with what a report of it needs
        traceback.print_exc()
        return _end(argv, MlconvertError(f"{type(error).__name__}: {error}"))
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _stopped(*, terminated: bool) -> int:
    sys.stderr.write(f"stopped ({'SIGTERM' if terminated else 'Ctrl-C'}): what was not finished is not left behind\n")
    return TERMINATED if terminated else INTERRUPTED


def _usage(error: TyperException) -> UsageError:
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "mlconvert"
    return UsageError(error.format_message(), hint=f"{command} --help")


def _end(argv: list[str], error: MlconvertError) -> int:
    if not error.message:  # what typer says when it has shown the help instead
        return error.exit_code
    print_error(error)
    if "--json" in argv:  # stdout is JSON whatever happens
        from mlconvert.report import to_json
        from mlconvert.report.contents import failed_report

        sys.stdout.write(to_json(error.report or failed_report("", error)))
    return error.exit_code


def print_error(error: MlconvertError) -> None:
    """What, where, and how to mend it; on stderr, so that stdout stays what was asked for."""
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True, soft_wrap=True, highlight=False)
    kind = "bug in mlconvert" if error.exit_code == 1 else "error"
    console.print(Text.assemble((f"{kind}: ", "bold red"), error.message))
    for line in (error.where or "").splitlines():
        console.print(Text(f"  {line}", "dim"))
    if error.hint:
        console.print(Text.assemble(("  try: ", "bold"), error.hint))


def _on_stop(seen: list[int]) -> dict[int, Any]:
    """Make SIGTERM unwind like Ctrl-C, so that children are ended and scratch folders removed; note it in `seen`.

    A second one that follows at once does not stop the clean-up. The handlers there were before, to be put back.
    """
    told = -math.inf

    def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the shape that signal wants
        nonlocal told
        if number == signal.SIGTERM:
            seen.append(number)
        if time.monotonic() - told > CLEAN_UP_SECONDS:
            told = time.monotonic()
            raise KeyboardInterrupt

    wanted = [signal.SIGTERM]
    if (
        signal.getsignal(signal.SIGINT) is signal.default_int_handler
    ):  # else a shell's background job, or a program's own
        wanted.append(signal.SIGINT)
    try:
        return {number: signal.signal(number, stop) or signal.SIG_DFL for number in wanted}
    except ValueError:  # not in the main thread: the caller's program decides about signals
        return {}
