"""moto's S3 on the loopback, each answer later by some seconds; run by a Python that has it.

    python -m pip install 'moto[server]'    # elsewhere: it brings 60 packages
    python benchmarks/moto_store.py SECONDS     # says its address, and at the end what it cost

Needs nothing of Regraft. `benchmarks/shards.py store --moto PYTHON` starts it.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server


class Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"  # connections are kept, as S3's are

    def log(self, type: str, message: str, *args: Any) -> None:
        pass


def main(latency_s: float) -> None:
    app = DomainDispatcherApplication(create_backend_app)

    def later(environ: Any, start_response: Any) -> Any:
        time.sleep(latency_s)
        return app(environ, start_response)

    server = make_server("127.0.0.1", 0, later, threaded=True, request_handler=Quiet)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(float(sys.argv[1]))
