"""Command line: `python -m unlearnkit COMMAND`. Each command is one call into the package."""

import argparse
import sys
from typing import TYPE_CHECKING

from . import paths
from .devices import AUTO, DEVICES
from .errors import ConfigError, UnlearnkitError
from .study.config import DEFAULT_METHOD, PROFILES

if TYPE_CHECKING:
    from .study.profiles import Profile


def main(arguments: list[str] | None = None) -> int:
    """Run a command; the exit status is 2 for an error of the user's or of the machine's making.

    And 1 where a request to forget was carried out, and the facts are not forgotten.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        if arguments == ["bench", "report"]:
            return _bench_report()
        if arguments[:1] == ["bench"]:  # has options of its own
            from .bench import command

            return command.main(arguments[1:])
        options = _parser(arguments[:1] == ["forget"]).parse_args(arguments)
        return options.run(options) or 0
    except UnlearnkitError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:  # no room, no right, a name too long: the system says which file
        where = f"{error.filename}: " if error.filename else ""
        print(f"error: {where}{error.strerror or error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        left = (
            "nothing is left of it" if arguments[:1] == ["forget"] else "the same command goes on from here"
        )
        print(f"\ninterrupted; {stop if stop.args else left}", file=sys.stderr)
        return 130


def _parser(forgetting: bool = False) -> argparse.ArgumentParser:
    """All commands; `forgetting` is whether the methods of `forget` are wanted, which take a moment."""
    parser = argparse.ArgumentParser(prog="python -m unlearnkit", description="A study of unlearning.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    models = commands.add_parser("models", help="fetch models and texts, so that no network is needed later")
    models.add_argument("action", choices=["fetch"])
    which = "smollm2-135m, gpt2-tiny, gpt2, a hub id or a folder; without it all that runs and tests need"
    models.add_argument("name", nargs="?", help=which)
    models.set_defaults(run=_models)

    commands.add_parser("bench", help="measure speed and size: bench ledger --json FILE")
    run = commands.add_parser("reproduce", help="run what is missing of the study, its notebooks and report")
    _add_own(run)
    run.add_argument("--notebook", default="", help="only this one, e.g. 02_first_epoch or 02")
    run.add_argument("--fresh", action="store_true", help="compute all here, also what figures/data has")
    run.add_argument("--keep-ledgers", action="store_true", help="delete no gradient ledger")
    run.add_argument("--scheduler", metavar="tcp://HOST:PORT", default="", help="compute on a Dask cluster")
    run.add_argument("--dry-run", action="store_true", help="only say what would be run, and how long")
    run.set_defaults(run=_reproduce)
    recipe = commands.add_parser("recipe", help="find a learning rate at which a model learns its facts")
    _add_own(recipe)
    recipe.set_defaults(run=_recipe)
    tune = commands.add_parser("tune", help="try each compared method's settings in worlds of their own")
    tune.add_argument("model", help="a family of models: gpt2-tiny, neox-tiny, llama-tiny, smollm2-135m")
    tune.set_defaults(run=_tune)
    told = "make a model forget facts, and say so in a signed folder"
    _add_forget(commands.add_parser("forget", help=told, epilog=_methods() if forgetting else ""))
    verify = commands.add_parser("verify", help="check the signed folder that `forget` wrote")
    verify.add_argument("folder")
    verify.add_argument("--key", required=True, help="the public key of whoever made it: a file in PEM")
    verify.set_defaults(run=_verify)
    report = commands.add_parser("report", help="build the HTML report of what a run has executed")
    report.add_argument("--profile", default="default", help="the run's name")
    report.set_defaults(run=_report)
    put = commands.add_parser("publish", help="execute the notebooks on figures/data, put results in place")
    put.add_argument("--data", metavar="RUN", help="first make this finished run's data the published data")
    put.set_defaults(run=_publish)
    look = commands.add_parser("check", help="compare what is committed with what the code makes")
    look.set_defaults(run=_check)
    return parser


def _add_own(command: argparse.ArgumentParser) -> None:
    """The options that say which run, and what of it is a user's own."""
    command.add_argument("--profile", default="default", help=f"one of {', '.join(PROFILES)}")
    command.add_argument("--model", help="a model's name, hub id or local folder")
    command.add_argument("--data", help="your own facts: a JSONL file, or TOFU's file or folder")
    command.add_argument("--forget", help="whom or what to forget: persons or ids, separated by commas")
    command.add_argument(
        "-p", metavar="NAME=VALUE", action="append", default=[], help="a parameter, e.g. lr=1e-4"
    )
    several = "parameters in one text, as make's P: a new one begins at each NAME="
    command.add_argument("--parameters", metavar="'NAME=VALUE ...'", default="", help=several)


def _add_forget(command: argparse.ArgumentParser) -> None:
    """The options that say what is to be forgotten, how, and where the result goes."""
    command.add_argument("--model", required=True, help="a model's name, hub id or local folder")
    command.add_argument("--data", required=True, help="the facts that it was taught: JSONL, or TOFU's form")
    command.add_argument("--who", required=True, help="whom or what to forget: persons or ids, with commas")
    command.add_argument("--out", required=True, help="a new folder for the result")
    command.add_argument("--method", default=DEFAULT_METHOD, help=f"{DEFAULT_METHOD} unless another is given")
    command.add_argument("--ledger", metavar="DIR", help="the ledger of the model's training")
    command.add_argument("--history", metavar="DIR", help="the history of the model's training")
    command.add_argument("--train", action="store_true", help="teach the model the facts first")
    command.add_argument("--purge", action="store_true", help="then purge the ledger of the facts, for good")
    command.add_argument("--key", help="the private key that signs, made if there is none")
    command.add_argument("--asked-by", default="", metavar="NAME", help="who asks, if that is to be told")
    command.add_argument("--dry-run", action="store_true", help="say what would be done, and write nothing")
    command.add_argument("--device", default=AUTO, choices=DEVICES, help="where the model runs")
    options = "an option of the method, or train.NAME=VALUE of the training; may be repeated"
    command.add_argument(
        "-p", dest="options", metavar="NAME=VALUE", action="append", default=[], help=options
    )
    command.set_defaults(run=_forget)


def _bench_report() -> int:
    """Print the table of bars."""
    from .bench import cases
    from .report import ch08_ledger, tables

    print(tables.markdown(ch08_ledger.bars(cases.load())))
    return 0


def _models(options: argparse.Namespace) -> None:
    from . import data, models, offline

    if options.name:
        print(models.fetch(options.name))
        data.utility_text("eval")  # the other thing that a run of that model needs the network for
        return
    for line in offline.fetch_all():
        print(line, flush=True)


def _reproduce(options: argparse.Namespace) -> None:
    from .publishing import execute, notebooks

    profile = _profile(options, notebooks.select(options.notebook))
    how = (options.fresh, options.keep_ledgers, options.scheduler, options.dry_run)
    execute.reproduce(profile, options.notebook, *how)


def _recipe(options: argparse.Namespace) -> None:
    from .study import search

    search.tell(_profile(options, []))


def _tune(options: argparse.Namespace) -> None:
    from .study import tuning

    print(tuning.tune(options.model))


def _profile(options: argparse.Namespace, names: list[str]) -> "Profile":
    """The run that the options describe; `names` are notebooks whose parameters may be given."""
    from .publishing import execute
    from .study import parameters, profiles

    own = {"model": options.model, "data": options.data, "forget": options.forget}
    given = {name: value for name, value in own.items() if value is not None}
    _require_values(given)
    assignments = [f"{name}={value}" for name, value in given.items()]
    assignments += [*options.p, *parameters.split(options.parameters)]
    base = profiles.get(options.profile)
    changed = execute.overrides(base, assignments, names)
    return profiles.own(options.profile, changed)


def _require_values(given: dict[str, str]) -> None:
    """ConfigError for an option that is empty: a path would mean the current folder."""
    if empty := [name for name, value in given.items() if not value.strip()]:
        raise ConfigError(f"--{empty[0]} is empty: give it a value, or leave it out")


def _methods() -> str:
    from .publishing import offered

    return offered.listed()


def _forget(options: argparse.Namespace) -> int:
    """0 where the facts are forgotten, or nothing was to be done; else 1."""
    from .publishing import gauge
    from .publishing.forget import forget
    from .publishing.job import Job

    given = {k: v for k, v in vars(options).items() if k not in ("run", "dry_run") and v is not None}
    named = ("out", "ledger", "history", "key")  # at the others `Job.require` looks
    _require_values({name: given[name] for name in named if name in given})
    told = forget(Job(**given | {"out": paths.expanded(options.out)}), options.dry_run)
    return int(told is not None and told["verdict"] != gauge.PASSED)


def _verify(options: argparse.Namespace) -> None:
    from . import manifest, signing

    told = manifest.verify(paths.expanded(options.folder), signing.public_key(paths.expanded(options.key)))
    print(f"signed by {told['signer']} on {told['when']}: {told['verdict']}")


def _report(options: argparse.Namespace) -> None:
    from .publishing import pages

    print(pages.build(paths.build() / options.profile))


def _publish(options: argparse.Namespace) -> None:
    from .publishing import publish

    print(publish.publish(paths.build() / options.data / "data" if options.data else None))


def _check(_options: argparse.Namespace) -> None:
    from .publishing import check

    print(check.check())


if __name__ == "__main__":
    sys.exit(main())
