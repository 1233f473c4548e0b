"""`regraft train`."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from regraft.cli import options, training_options
from regraft.cli.grouped_help import Grouped
from regraft.errors import UsageError
from regraft.probe.method import PROBE
from regraft.record import configuration
from regraft.training.methods import METHODS

if TYPE_CHECKING:
    from pathlib import Path

    from regraft.record import run_folder
    from regraft.workflows import experiment

# Options that say where a run goes or how it is shown, not what it does.
NOT_SETTINGS = frozenset(
    ("name", "out", "config", "resume", "offline", "as_json", "quiet", "no_report", "runner",
     "features", "keep_files", "dry_run")
)  # fmt: skip


@click.command(cls=Grouped, short_help="train and test a classifier")
@click.argument("data", required=False)
@click.option(
    "--method",
    type=click.Choice(list(METHODS)),
    default=PROBE.name,
    show_default=True,
    help="How to learn: " + "; ".join(f"{name}: {m.help}" for name, m in METHODS.items()) + ".",
)
@options.backbone
@options.look
@options.head
@options.columns
@options.scale
@options.test_fraction
@options.seed
@click.option("--run", "name", metavar="NAME", help="Name of the run's folder.")
@click.option("--out", default="runs", show_default=True, metavar="DIR", help="Where runs go.")
@click.option(
    "--config", metavar="FILE", help="Run again exactly what this run.json (or run) says."
)
@click.option(
    "--resume",
    is_flag=True,
    help="If this very run is finished already, show it; with more --epochs, go on with it. "
    "(A run that was stopped goes on by itself.)",
)
@training_options.training
@options.runner
@options.keep
@click.option(
    "--features",
    metavar="PARTS",
    help="Folder of parts that `regraft features` made of DATA; their images are not read again.",
)
@click.option("--no-report", is_flag=True, help="Draw no report.html.")
@click.option(
    "--dry-run",
    is_flag=True,
    help="Say what the run would take (seconds, memory, disk), and learn nothing.",
)
@options.output
@click.pass_context
def command(
    ctx: click.Context, /, data: str | None, name: str | None, out: str, config: str | None,
    resume: bool, no_report: bool, dry_run: bool, offline: bool, as_json: bool, quiet: bool,
    taps: str | None, class_weight: str, runner: str, features: str | None, **settings: object,
) -> None:  # fmt: skip
    """Train a classifier on DATA and test it.

    DATA is a folder with one folder per class (DATA/<class>/ or DATA/<split>/<class>/ with splits
    train, val, test), a CSV or Parquet manifest, or a zip or tar archive.

    Exit code 3 if nothing can be learnt or scored. A test that shares pictures with train is named
    as an error beside the score, but the run ends with 0; `regraft check DATA` ends with 3 on it.

    \b
      regraft train photos/
      regraft train photos/ --backbone lite1 --run first-try
      regraft train leaves.csv --group-column plant
      regraft train photos/ --method full --dry-run
      regraft train photos/ --method partial --split-point blocks.5
      regraft train photos/ --method full --epochs 8 --augment upright
      torchrun --nproc-per-node 2 -m -- regraft train photos/ --method full
    """
    from regraft.console import progress
    from regraft.machine import heap, processes
    from regraft.record import run_folder
    from regraft.workflows import billing, experiment

    heap.keep_what_is_freed()
    if config is not None:
        _refuse_settings_beside(ctx)
        resolved = configuration.RunConfig.from_file(run_folder.config_file_of(config))
    elif data is None:
        raise UsageError(
            "train needs DATA, a folder, manifest or archive", cure="regraft train photos/"
        )
    else:
        resolved = training_options.configured(data, taps, class_weight, settings)
    options.require_usable(resolved)
    if not METHODS[resolved.method].trains and not processes.is_main():
        return  # there is nothing to divide: the first process does it
    folder = run_folder.folder_for(resolved, out=out, name=name, resume=resume)  # may refuse
    if dry_run:
        show_bill_before(resolved, folder, offline=offline, as_json=as_json, is_quiet=quiet)
        return
    options.require_room(out)
    elsewhere = options.elsewhere_of(runner, features)
    is_quiet = quiet or not processes.is_main()
    with progress.listening(quiet=is_quiet) as listener:
        if resume:
            result = experiment.resumed(
                resolved, out=out, name=name, offline=offline, listener=listener,
                elsewhere=elsewhere,
            )  # fmt: skip
        else:
            result = experiment.run(
                resolved, out=out, name=name, offline=offline, listener=listener,
                elsewhere=elsewhere,
            )  # fmt: skip
    if not processes.is_main():
        return
    show(result, as_json=as_json, config=resolved)
    if isinstance(result, run_folder.Finished):
        return
    billing.note_outside(result.metrics, resolved)
    if not no_report:
        draw_report(result, is_quiet=is_quiet, as_json=as_json)


def show(
    result: experiment.Result | run_folder.Finished,
    *,
    as_json: bool,
    config: configuration.RunConfig,
) -> None:
    """What draws for people is loaded for them alone: 20 ms."""
    if as_json:
        from regraft.console.json_line import print_json

        print_json(result.metrics)
        return
    from regraft.console.result import show_finished, show_result
    from regraft.record import run_folder

    if isinstance(result, run_folder.Finished):
        show_finished(result, config=config)
    else:
        show_result(result, config=config)


def show_bill_before(
    config: configuration.RunConfig, folder: Path, *, offline: bool, as_json: bool, is_quiet: bool
) -> None:
    """What the run would take."""
    from regraft.console import progress
    from regraft.console.bill import show_bill
    from regraft.workflows import billing

    with progress.listening(quiet=is_quiet, after="") as listener:
        found = billing.bill_before(config, folder=folder, offline=offline, listener=listener)
    show_bill(found, billing.way_of(config), as_json=as_json)


def draw_report(
    result: experiment.Result, *, is_quiet: bool = False, as_json: bool = False,
    until: float = math.inf,
) -> None:  # fmt: skip
    """After the result is on screen; the run is whole without it.

    `until` is a moment of `time.monotonic`: heat maps are left out if they would be later.
    """
    from regraft.console import progress
    from regraft.console.page import show_page
    from regraft.console.screen import say_aside
    from regraft.workflows import reporting

    sys.stdout.flush()
    try:
        with progress.listening(quiet=is_quiet, after="drawing the report") as listener:
            page = reporting.report_on(result, listener=listener, until=until)
    except Exception as error:  # whatever it is: the model is saved and tested
        again = f"regraft report {result.folder}"
        say_aside(f"the report could not be drawn ({error}); {again} tries again")
        return
    if not as_json:
        show_page(page, as_json=False)


def _refuse_settings_beside(ctx: click.Context) -> None:
    """--config says every setting; one that is typed beside it would be ignored."""
    typed = [
        parameter.opts[0] if isinstance(parameter, click.Option) else "DATA"
        for parameter in ctx.command.params
        if parameter.name not in NOT_SETTINGS
        and ctx.get_parameter_source(str(parameter.name)) == ParameterSource.COMMANDLINE
        and ctx.params[str(parameter.name)] is not None
    ]
    if typed:
        names = ", ".join(typed)
        raise UsageError(
            f"--config runs again exactly what its file says, but {names} "
            f"{'was' if len(typed) == 1 else 'were'} given too",
            cure=f"leave out {names}; or change the setting in a copy of the file",
        )
