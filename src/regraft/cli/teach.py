"""`regraft teach`."""

from __future__ import annotations

import click

from regraft.cli import options
from regraft.cli.serve import require_extra


@click.command(short_help="teach a folder in the browser: label, see the score, mend, use")
@click.argument("folder")
@click.option(
    "--backbone",
    default="default",
    show_default=True,
    help="Network that looks at the pictures; `regraft backbones` lists them.",
)
@options.doors
@click.option(
    "--no-browser",
    is_flag=True,
    help="Do not open a browser. Without a terminal none is opened anyway.",
)
@options.offline
def command(
    folder: str, backbone: str, host: str, port: int, token: str | None,
    allowed_hosts: tuple[str, ...], no_browser: bool, offline: bool,
) -> int:  # fmt: skip
    """Teach FOLDER in the browser: put pictures in, label them, see the score at once.

    FOLDER is a folder of class folders, a folder of unsorted pictures, or a new one. What is done
    to it is plain: a picture's class is the folder that it lies in. Beside, in FOLDER/.regraft,
    are the journal, by which everything can be undone, and the trash; no picture is ever deleted.

    Nothing leaves this machine. Ctrl-C or SIGTERM stops it: exit code 0.

    \b
      regraft teach my-project/
      regraft teach photos/ --port 8080 --no-browser
    """
    require_extra()
    from regraft.console import teaching
    from regraft.server import teach

    is_whole = teach.teach(
        folder, backbone=backbone, offline=offline, host=host, port=port, token=token,
        allowed_hosts=allowed_hosts, say=teaching.say, note_bug=teaching.note_bug,
        on_ready=teaching.showing(opens_browser=not no_browser),
    )  # fmt: skip
    return 0 if is_whole else 143
