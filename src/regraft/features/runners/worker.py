"""A worker of `processes:N`: ``python -m regraft.features.runners.worker``, fed by a pipe."""

from __future__ import annotations

import os
import sys

from regraft.errors import RegraftError
from regraft.features.runners.processes import receive, send
from regraft.features.runners.work import Job


def main() -> None:
    """Do one shard after another until the pipe is closed."""
    # What libraries print goes to stderr: the pipe holds messages only.
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    try:
        job: Job = receive(sys.stdin.buffer)
        try:
            job.start()
        except RegraftError as error:
            send(out, error)
            return
        send(out, "ready")
        while True:
            paths = receive(sys.stdin.buffer)
            send(out, job.do(paths))
    except (EOFError, BrokenPipeError):  # the driver is gone
        os._exit(0)


if __name__ == "__main__":
    main()
