"""`regraft serve`."""

from __future__ import annotations

import importlib.util

import click

from regraft.cli import options
from regraft.errors import UsageError

# What the extra brings, by the names that are imported.
_EXTRA = ("starlette", "uvicorn", "httptools", "python_multipart", "prometheus_client")
MIB = 2**20


@click.command(short_help="answer over HTTP, with a page to drop pictures on")
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@options.doors
@click.option(
    "--name", "names", multiple=True, metavar="NAME",
    help="What a model is called in addresses, once for each.  [default: its run's name]",
)  # fmt: skip
@click.option(
    "--max-picture", default=32, show_default=True, type=click.IntRange(1, 1024), metavar="MIB",
    help="Largest file of a picture.",
)  # fmt: skip
@click.option(
    "--max-items", default=64, show_default=True, type=click.IntRange(1, 10_000),
    help="Pictures in one request.",
)  # fmt: skip
@click.option(
    "--queue", default=256, show_default=True, type=click.IntRange(1, 100_000),
    help="Pictures that wait or are being answered; more get 503 and Retry-After.",
)  # fmt: skip
@click.option(
    "--timeout", default=60.0, show_default=True, type=click.FloatRange(0.1, 3600), metavar="S",
    help="Seconds from a whole request to its answer.",
)  # fmt: skip
@click.option(
    "-q", "--quiet", is_flag=True,
    help="No log of requests, no progress; only the address, and what must be known.",
)  # fmt: skip
def command(
    models: tuple[str, ...], host: str, port: int, names: tuple[str, ...], token: str | None,
    allowed_hosts: tuple[str, ...], max_picture: int, max_items: int, queue: int, timeout: float,
    quiet: bool,
) -> int:  # fmt: skip
    """Answer over HTTP with MODEL, a run's model folder, or with several.

    \b
    GET  /           a page to drop, paste or photograph pictures on
    POST /predict    a picture, or a form of many; answers as predict --json
    GET  /health  /models  /metrics  /openapi.json
    /v2/...          the Open Inference Protocol, as Triton and KServe speak it

    A picture that cannot be read is an error of its own; the others are answered. Nothing is
    written to disk. Ctrl-C or SIGTERM stops it once what was asked is answered: exit code 0.

    \b
      regraft serve runs/NAME
    """
    require_extra()
    import sys

    from regraft.console import served
    from regraft.server import serving
    from regraft.server.limits import Limits

    limits = Limits(
        picture_bytes=max_picture * MIB,
        request_bytes=max(4 * max_picture, 128) * MIB,
        held_bytes=max(16 * max_picture, 512) * MIB,
        items=min(max_items, queue),
        places=queue,
        answer_s=timeout,
    )
    is_whole = serving.serve(
        models, names=names, host=host, port=port, token=token, allowed_hosts=allowed_hosts,
        limits=limits, log_to=None if quiet else sys.stdout,
        say=served.say_what_must_be_known if quiet else served.say,
        on_ready=served.show_address if quiet else served.show_ready,
    )  # fmt: skip
    return 0 if is_whole else 143


def require_extra() -> None:
    """Refuse, before any work, where the packages of the extra are missing."""
    missing = [name for name in _EXTRA if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(
            f"serving needs packages that are not installed: {', '.join(missing)}",
            cure="pip install 'regraft[serve]'",
        )
