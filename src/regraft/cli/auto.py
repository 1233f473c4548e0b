"""`regraft auto`."""

from __future__ import annotations

import shlex
import sys
import time

import click

from regraft.choosing.budget import seconds_of
from regraft.choosing.way import BACKBONES_TRIED, METHODS_TRIED, methods_in, names_in
from regraft.cli import options
from regraft.record import configuration


@click.command(short_help="the best way that a budget of time allows")
@click.argument("data")
@click.option(
    "--budget",
    default="2m",
    show_default=True,
    metavar="TIME",
    help="Time in all, from the start to the report: 90s, 2m, 1h30m.",
)
@click.option(
    "--ways",
    default=",".join(METHODS_TRIED),
    show_default=True,
    metavar="A,B,...",
    help="Methods that may be tried; the probe always is.",
)
@click.option(
    "--backbones",
    default=",".join(BACKBONES_TRIED),
    show_default=True,
    metavar="A,B,...",
    help="Networks that may be tried, the first one first; those that cannot be had are named and "
    "left out.",
)
@options.offline
@options.device
@options.class_weight
@options.columns
@options.scale
@options.test_fraction
@options.seed
@click.option("--run", "name", metavar="NAME", help="Name of the run's folder.")
@click.option("--out", default="runs", show_default=True, metavar="DIR", help="Where runs go.")
@click.option("--no-report", is_flag=True, help="Draw no report.html.")
@options.output
def command(
    data: str, budget: str, ways: str, backbones: str, name: str | None, out: str,
    no_report: bool, offline: bool, as_json: bool, quiet: bool, class_weight: str,
    **settings: object,
) -> None:  # fmt: skip
    """Find the best way for DATA within a budget of time, by measuring.

    The probe comes first, and its model is on disk within seconds. Then comes, again and
    again, what may gain most for its time by what was measured so far: larger networks, mirror
    images, later layers or all of them learning on. It stops at the budget, when nothing more is
    likely to gain, or on Ctrl-C, with the best so far.

    Ways are judged by images of train that taught them nothing; the test is looked at once, at the
    end. A search that was killed goes on with the same command.

    \b
      regraft auto photos/
      regraft auto photos/ --budget 10m
      regraft auto photos/ --budget 30s --ways probe --backbones default,lite1
    """
    from regraft.cli.train import draw_report, show
    from regraft.console.auto import show_search, watching
    from regraft.machine import heap
    from regraft.workflows import auto

    heap.keep_what_is_freed()
    budget_s = seconds_of(budget)
    methods, networks = methods_in(ways), names_in(backbones, option="--backbones")
    given = {"class_weight": None if class_weight == "none" else class_weight, **settings}
    config = configuration.RunConfig.from_dict({"data": data, "backbone": networks[0], **given})
    options.require_usable(config)
    options.require_room(out)
    with watching(quiet=quiet) as (listener, watch):
        done = auto.auto(
            config, budget_s=budget_s, methods=methods, backbones=networks, out=out, name=name,
            offline=offline, draws_report=not no_report, began=auto.process_began(),
            command=shlex.join(["regraft", *sys.argv[1:]]), listener=listener, watch=watch,
        )  # fmt: skip
    if not as_json:
        show_search(done.result.metrics["auto"])
    show(done.result, as_json=as_json, config=config)
    if no_report:
        return
    if not done.has_time_for_report:
        from regraft.console.screen import say_aside

        say_aside(
            "the budget has no time left for the report; "
            f"regraft report {done.result.folder} draws it"
        )
        return
    begun = time.monotonic()
    draw_report(done.result, is_quiet=quiet, as_json=as_json, until=done.report_until)
    auto.note_report(time.monotonic() - begun)
