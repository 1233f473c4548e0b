"""`regraft report`."""

from __future__ import annotations

import click

from regraft.cli import options
from regraft.errors import UsageError

COMPARISON = "comparison.html"


@click.command(short_help="draw a run's report again, or compare runs")
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@click.option(
    "--out",
    metavar="FILE",
    help=f"Where the page goes. Default: report.html in the run's folder; of several runs "
    f"{COMPARISON} here.",
)
@options.offline
@options.output
def command(
    runs: tuple[str, ...], out: str | None, offline: bool, as_json: bool, quiet: bool
) -> None:
    """Draw the page of a finished RUN, from its folder alone.

    Of two or more RUNs on the same images: which is better, by a paired test, and on which images
    they differ.

    \b
      regraft report runs/photos-probe-1a2b3c4d
      regraft report runs/photos-probe-1a2b3c4d runs/photos-partial-5e6f7a8b
    """
    from regraft.console import progress
    from regraft.console.comparison import show_comparison
    from regraft.console.page import show_page
    from regraft.workflows import reporting

    if out is not None:
        if not out.lower().endswith((".html", ".htm")):
            raise UsageError(f"the page {out!r} does not end in .html", cure="--out report.html")
        options.require_folder_of(out)
    with progress.listening(quiet=quiet, after="drawing") as listener:
        if len(runs) == 1:
            page = reporting.report_again(runs[0], out=out, offline=offline, listener=listener)
            show_page(page, as_json=as_json)
        else:
            compared, page = reporting.compare(
                runs, out=out or COMPARISON, offline=offline, listener=listener
            )
            show_comparison(compared, page, as_json=as_json)
