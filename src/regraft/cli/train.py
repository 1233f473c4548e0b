"""`regraft train`."""

from __future__ import annotations

import click
from click.core import ParameterSource

from regraft.cli import options, training_options
from regraft.errors import UsageError

# Options that say where a run goes or how it is shown, not what it does.
NOT_SETTINGS = frozenset({"name", "out", "config", "resume", "offline", "as_json", "quiet"})


@click.command(short_help="train and test a classifier")
@click.argument("data", required=False)
@click.option(
    "--method",
    type=click.Choice(["probe", "head", "partial", "full", "scratch"]),
    default="probe",
    show_default=True,
    help="How to learn: probe (a head in closed form), or by gradients: head alone, partial (from "
    "a split point on), full, scratch.",
)
@options.backbone
@click.option(
    "--taps",
    metavar="A,B,...",
    help="Stages whose features the head sees: names as in `regraft layers`, final, codes, source, "
    "all. Default: measured on train.",
)
@click.option(
    "--head",
    type=click.Choice(["ridge", "logistic", "svm", "ncm", "knn"]),
    default="ridge",
    show_default=True,
    help="What learns on the features.",
)
@click.option(
    "--class-weight",
    type=click.Choice(["none", "balanced"]),
    default="none",
    show_default=True,
    help="balanced: every class counts the same, however many images it has.",
)
@options.columns
@click.option(
    "--test-fraction",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.2,
    show_default=True,
    help="Part that is kept for the test if the data come without splits.",
)
@options.seed
@click.option("--run", "name", metavar="NAME", help="Name of the run's folder.")
@click.option("--out", default="runs", show_default=True, metavar="DIR", help="Where runs go.")
@click.option("--config", metavar="FILE", help="Run again exactly what this run.json says.")
@click.option(
    "--resume",
    is_flag=True,
    help="If this very run is finished already, show it; with more --epochs, go on with it. "
    "(A run that was stopped goes on by itself.)",
)
@training_options.training
@options.output
@click.pass_context
def command(
    ctx: click.Context, /, data: str | None, name: str | None, out: str, config: str | None,
    resume: bool, offline: bool, as_json: bool, quiet: bool, taps: str | None, class_weight: str,
    **settings: object,
) -> None:  # fmt: skip
    """Train a classifier on DATA and test it.

    DATA is a folder with one folder per class (DATA/<class>/ or DATA/<split>/<class>/ with splits
    train, val, test), a CSV or Parquet manifest, or a zip or tar archive.

    \b
      regraft train photos/
      regraft train photos/ --backbone lite1 --run first-try
      regraft train leaves.csv --group-column plant
      regraft train photos/ --method partial --split-point blocks.5
      regraft train photos/ --method full --epochs 8 --augment upright
    """
    from regraft import console, experiment, runs

    if config is not None:
        _refuse_settings_beside(ctx)
        resolved = runs.RunConfig.from_file(config)
    elif data is None:
        raise UsageError(
            "train needs DATA, a folder, manifest or archive", cure="regraft train photos/"
        )
    else:
        settings |= {
            "training": training_options.given(settings),
            "data": data,
            "taps": taps.split(",") if taps else None,
            "class_weight": None if class_weight == "none" else class_weight,
        }
        resolved = runs.RunConfig.from_dict(settings)
    options.require_usable(resolved)
    finished = runs.finished(resolved, out=out, name=name) if resume else None
    if finished is not None:
        console.show_metrics(finished, as_json=as_json, config=resolved)
        return
    runs.folder_for(resolved, out=out, name=name, resume=resume)  # its refusals come first
    options.require_room(out)
    with console.listening(quiet=quiet or as_json) as listener:
        result = experiment.run(
            resolved, out=out, name=name, offline=offline, resume=resume, listener=listener
        )
    console.show_result(result, as_json=as_json, config=resolved)


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
