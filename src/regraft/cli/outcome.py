"""What a command's end means to the shell: one message on stderr, and an exit code.

0 done; 1 a bug of ours; 2 wrong use; 3 the data; 4 training failed; 5 a model or weights file
refused; 130 and 143 stopped by the user.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from types import FrameType

import click

from regraft.errors import RegraftError

INTERRUPTED, TERMINATED = 130, 143


class _Terminated(BaseException):
    """SIGTERM, raised where the program is, so that it ends as tidily as on Ctrl-C."""


def of(command: click.Command) -> int:
    """Run a command and give its exit code."""
    signal.signal(signal.SIGTERM, _terminate)
    try:
        result = command.main(standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        error.show()
        return 2
    except (click.Abort, KeyboardInterrupt):
        return _stopped("stopped; what was computed is kept", INTERRUPTED)
    except _Terminated:
        return _stopped("terminated; what was computed is kept", TERMINATED)
    except RegraftError as error:
        _print(f"{type(error).__name__}: {error}")
        return error.exit_code
    except BrokenPipeError:  # `regraft ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        return _our_bug(error)
    return result if isinstance(result, int) else 0


def _terminate(number: int, frame: FrameType | None) -> None:
    raise _Terminated


def _stopped(message: str, code: int) -> int:
    _print(f"\nregraft: {message}")
    return code


def _our_bug(error: Exception) -> int:
    """One line on the screen, the traceback in the log."""
    log = Path(os.environ.get("REGRAFT_LOG", "regraft-error.jsonl"))
    entry = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S"),
        "command": sys.argv[1:],
        "error": repr(error),
        "traceback": traceback.format_exc(),
    }
    where = f"; the traceback is in {log}"
    try:
        with open(log, "a", encoding="utf-8") as stream:
            stream.write(json.dumps(entry) + "\n")
    except OSError:
        where = ""
        traceback.print_exc()
    _print(f"regraft: a bug of ours, please report it: {type(error).__name__}: {error}{where}")
    return 1


def _print(text: str) -> None:
    """To stderr, whatever bytes a file name holds."""
    sys.stderr.flush()
    sys.stderr.buffer.write((text + "\n").encode("utf-8", "backslashreplace"))
    sys.stderr.flush()
