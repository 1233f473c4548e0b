"""What a command's end means to the shell: one message on stderr, and an exit code.

0 done; 1 a bug of ours; 2 wrong use; 3 the data; 4 training failed; 5 a model or weights file
refused; 130 and 143 stopped by the user.
"""

from __future__ import annotations

import codecs
import os
import shlex
import signal
import sys
import time
import traceback
from pathlib import Path
from types import FrameType

import click

from regraft.console.lines import width_of, wrapped
from regraft.errors import RegraftError
from regraft.machine import extras, processes
from regraft.machine.cache import cache_folder
from regraft.machine.json_lines import add_line

FAILED, INTERRUPTED, TERMINATED = 4, 130, 143
# Commands that read images, or learn, and keep what they know of them on the way.
KEEPING = {
    "train",
    "auto",
    "advise",
    "compare",
    "demo",
    "lr-find",
    "check",
    "layers",
    "predict",
    "evaluate",
    "explain",
    "features",
}
# Signs of ours that an old encoding may lack.
PLAINER = dict(zip("▁▂▃▄▅▆▇█–·×", "_.-=+*%#-.x", strict=True)) | {"…": "..."}


class _Terminated(BaseException):
    """SIGTERM, raised where the program is, so that it ends as tidily as on Ctrl-C."""


def of(command: click.Command) -> int:
    """Run a command and give its exit code."""
    if not processes.is_main():  # it has nothing to tidy, and may be deep within a wait
        return _run(command)
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        return _run(command)
    finally:
        signal.signal(signal.SIGTERM, before)


def _run(command: click.Command) -> int:
    _print_anything()
    try:
        result = command.main(standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        _print(error.format_message())
        return 2
    except click.MissingParameter as error:
        from regraft.cli.missing import in_our_words as what_is_missing

        _print(_usage(error) + _in_words(what_is_missing(error)))
        return 2
    except click.BadParameter as error:
        from regraft.cli.bad_values import in_our_words

        told = in_our_words(error)
        words = _in_words(told) if told else _wrapped(error.format_message(), "Error: ")
        _print(_usage(error) + words)
        return 2
    except click.ClickException as error:
        _print(_usage(error) + _wrapped(_what_is_wrong(error), "Error: "))
        return 2
    except (click.Abort, KeyboardInterrupt):
        return _stopped("stopped", INTERRUPTED)
    except _Terminated:
        return _stopped("terminated", TERMINATED)
    except RegraftError as error:
        if processes.is_main():
            _print(_in_words(error))
        elif processes.have_met():  # before, all of them refuse the same
            _print(_wrapped(error.rule, f"Error in process {processes.rank()}: "))
        return error.exit_code
    except ImportError as error:
        if (missing := extras.told(error)) is None:
            return _our_bug(error)
        _print(_in_words(missing))
        return missing.exit_code
    except (BrokenPipeError, SystemExit):  # `regraft ... | head`; click makes it an exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if processes.have_met() and _is_lost(error):
            return _stopped("another process ended", FAILED)
        return _our_bug(error)
    return result if isinstance(result, int) else 0


def _print_anything() -> None:
    """What a stream's encoding lacks is shown by something plainer, never a reason to fail."""
    codecs.register_error("regraft", _plainer)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="regraft")


def _plainer(error: UnicodeError) -> tuple[str | bytes, int]:
    """An error handler of codecs: our own signs in ASCII, all else as escapes."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    if text[0] in PLAINER:
        return PLAINER[text[0]], error.start + 1
    escaped, _ = codecs.backslashreplace_errors(
        UnicodeEncodeError(error.encoding, error.object, error.start, error.start + 1, "")
    )
    return escaped, error.start + 1


def _terminate(number: int, frame: FrameType | None) -> None:
    raise _Terminated


def _is_lost(error: Exception) -> bool:
    """Whether an error of PyTorch's means that another process is gone."""
    return type(error).__name__.startswith("Dist") or "gloo" in str(error).lower()


def _in_words(error: RegraftError) -> str:
    """The rule, the place and the cure, each under its name."""
    rule, cure = error.rule, error.cure
    if (setting := error.facts.get("setting")) and not error.place:  # typed, and in no file
        from regraft.cli.bad_values import as_typed

        rule, cure = as_typed(rule, setting), as_typed(cure, setting)
    lines = [_wrapped(rule, "Error: ")]
    if error.place:
        lines.append(_wrapped(error.place, "  where: "))
    if cure:
        lines.append(_wrapped(cure, "  cure:  "))
    return "\n".join(lines)


def _usage(error: click.ClickException) -> str:
    """How the command is called, before what was wrong in the call."""
    context = getattr(error, "ctx", None)
    if context is None:
        return ""
    return f"{context.get_usage()}\nTry '{context.command_path} --help' for help.\n\n"


def _what_is_wrong(error: click.ClickException) -> str:
    """click's words; and what is meant by an option that there is not, or a name with blanks."""
    if isinstance(error, click.NoSuchOption) and error.ctx is not None:
        from regraft.cli.other_names import hint_for

        return f"{error.message} {hint_for(error.option_name, error.ctx)}".rstrip()
    from regraft.cli.missing import name_in_quotes

    return f"{error.format_message()} {name_in_quotes(error, sys.argv[1:])}".rstrip()


def _wrapped(text: str, lead: str) -> str:
    return wrapped(text, width_of(sys.stderr), lead=lead)


def _stopped(how: str, code: int) -> int:
    """What is left, and the command that goes on: the same one, which finds it."""
    if processes.is_main():
        _print("\n" + _wrapped(how + _what_is_left(), "regraft: "))
        if how_to_go_on := _command_again():
            _print(how_to_go_on)
    return code


def _what_is_left() -> str:
    if not KEEPING.intersection(sys.argv[1:2]) or "--no-store" in sys.argv:
        return ""
    return "; what was computed is kept, and the same command goes on"


def _command_again() -> str:
    """As it was typed; of several processes the launcher knows what was."""
    if not _what_is_left() or processes.n_processes() > 1:
        return ""
    return "  " + shlex.join(["regraft", *sys.argv[1:]])


def _our_bug(error: Exception) -> int:
    """One line on the screen, the traceback in the log; no log where no trace is to be left."""
    where = "" if "--no-store" in sys.argv else _logged(error)
    if not where:
        traceback.print_exc()
    what = f"a bug of ours, please report it: {type(error).__name__}: {error}{where}"
    _print(_wrapped(what, "regraft: "))
    return 1


def _logged(error: Exception) -> str:
    """Where the traceback is now, in words; '' if it could not be written."""
    log = Path(os.environ.get("REGRAFT_LOG") or cache_folder() / "regraft-error.jsonl")
    entry = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S"),
        "command": sys.argv[1:],
        "error": repr(error),
        "traceback": traceback.format_exc(),
    }
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        add_line(log, entry)
    except OSError:
        return ""
    return f"; the traceback is in {log}"


def _print(text: str) -> None:
    """To stderr, whatever bytes a file name holds."""
    sys.stderr.flush()
    sys.stderr.buffer.write((text + "\n").encode("utf-8", "backslashreplace"))
    sys.stderr.flush()
