"""The end of a process, without taking apart what the system takes back anyway."""

from __future__ import annotations

import atexit
import os
import sys
import threading

from regraft.machine import processes


def leave(code: int) -> None:
    """End this process with an exit code, as `sys.exit` does.

    With PyTorch in it Python takes a second or two to take its objects and modules apart (1.4 s
    where all layers of the default network had learnt). So threads are waited for and what was
    registered for the end is run, as at any end, and then the process is over.
    """
    if "torch" not in sys.modules or processes.n_processes() > 1:
        sys.exit(code)
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:  # nobody reads it any more: Python knows what to say of that
        sys.exit(code)
    os._exit(code)
