"""Command line: `python -m unlearnkit COMMAND`. Each command is one call into the package."""

import argparse
import os
import sys
from pathlib import Path

from . import profiles
from .errors import ConfigError, UnlearnkitError


def main(arguments: list[str] | None = None) -> int:
    """Run a command; the exit status is 2 for an error of the user's or of the machine's making."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        if arguments[:1] == ["bench"]:  # has options of its own
            from .bench import command

            return command.main(arguments[1:])
        options = _parser().parse_args(arguments)
        options.run(options)
    except UnlearnkitError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on from here", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m unlearnkit", description="A study of unlearning.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    models = commands.add_parser("models", help="fetch models and texts, so that no network is needed later")
    models.add_argument("action", choices=["fetch"])
    which = "smollm2-135m, gpt2-tiny, gpt2, a hub id or a folder; without it all that runs and tests need"
    models.add_argument("name", nargs="?", help=which)
    models.set_defaults(run=_models)

    commands.add_parser("bench", help="measure speed and size: bench ledger --json FILE")
    for name, run, text in (
        ("reproduce", _reproduce, "run what is missing of the study, its notebooks and the report"),
        ("report", _report, "build the HTML report of what a run has executed"),
        ("publish", _publish, "promote a finished run to notebooks/, figures/ and the README"),
        ("check", _check, "compare notebooks/ and figures/ with the code and a finished run"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("--profile", default="default", help=f"one of {', '.join(profiles.PROFILES)}")
        command.set_defaults(run=run)
        if name == "reproduce":
            command.add_argument("--notebook", default="", help="only this one, e.g. 02_first_epoch or 02")
            command.add_argument("--model", help="a model's name, hub id or local folder")
            command.add_argument("--data", help="your own facts: a JSONL file")
            command.add_argument("--forget", help="whom or what to forget: a name or ids")
            command.add_argument("--keep-ledgers", action="store_true", help="delete no gradient ledger")
            command.add_argument("-p", metavar="NAME=VALUE", action="append", default=[], help="a parameter")
    return parser


def _models(options: argparse.Namespace) -> None:
    from . import data, models, offline

    if options.name:
        print(models.fetch(options.name))
        data.utility_text("eval")  # the other thing that a run of that model needs the network for
        return
    for line in offline.fetch_all():
        print(line, flush=True)


def _reproduce(options: argparse.Namespace) -> None:
    from . import execute, notebooks

    if options.keep_ledgers:
        os.environ["UNLEARNKIT_KEEP_LEDGERS"] = "1"  # study.KEEP_LEDGERS; workers inherit it
    if options.data and not Path(options.data).is_file():
        raise ConfigError(f"--data: there is no file {options.data}")
    data = options.data and str(Path(options.data).resolve())
    own = {"model": options.model, "data": data, "forget": options.forget}
    assignments = [f"{name}={value}" for name, value in own.items() if value] + options.p
    profile = profiles.get(options.profile)
    overrides = execute.parse_overrides(profile, assignments, notebooks.select(options.notebook))
    execute.reproduce(profiles.get(options.profile, overrides), options.notebook)


def _report(options: argparse.Namespace) -> None:
    from . import report

    print(report.build(profiles.get(options.profile)))


def _publish(options: argparse.Namespace) -> None:
    from . import publish

    print(publish.publish(profiles.get(options.profile)))


def _check(options: argparse.Namespace) -> None:
    from . import check

    print(check.check(profiles.get(options.profile)))


if __name__ == "__main__":
    sys.exit(main())
