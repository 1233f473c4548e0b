"""Foreign clients at our server: schemathesis by its own description, Triton's client by v2."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from regraft.server import models
from served import Running, serving

MOST_EXAMPLES = 5


@pytest.fixture(scope="module")
def server(served_room: Path) -> Iterator[Running]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REGRAFT_CACHE", str(served_room / "cache"))
        with serving(models.opened([served_room / "runs" / "r" / "model"])) as running:
            # The first heat map is prepared for some seconds, more than a client may wait.
            photo = next((served_room / "photos" / "val").rglob("*.jpg"))
            assert running.ask("/predict?heatmap=1", photo.read_bytes()).status == 200
            yield running


@pytest.mark.slow  # some hundred requests that schemathesis makes up
def test_schemathesis_finds_nothing_against_our_description(
    server: Running, tmp_path: Path
) -> None:
    """All checks but one: a schema cannot say that a shape is the number of its elements."""
    pytest.importorskip("schemathesis")
    address = f"http://127.0.0.1:{server.port}"
    done = subprocess.run(
        [sys.executable, "-m", "schemathesis.cli", "run", f"{address}/openapi.json", "--url",
         address, "--checks", "all", "--exclude-checks", "positive_data_acceptance",
         "--max-examples", str(MOST_EXAMPLES), "--seed", "0", "--no-color"],
        capture_output=True, text=True, check=False, timeout=200, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert re.search(r"\d+ generated", done.stdout), done.stdout[-1000:]


@pytest.mark.parametrize("is_binary", [True, False])
def test_tritons_client_gets_an_answer(server: Running, served_room: Path, is_binary: bool) -> None:
    triton = pytest.importorskip("tritonclient.http")
    photos = sorted((served_room / "photos" / "val").rglob("*.jpg"))[:3]
    (wanted,) = server.ask("/predict", photos[0].read_bytes()).json["predictions"]
    files = np.array([*(path.read_bytes() for path in photos), b"no picture"], dtype=object)
    client = triton.InferenceServerClient(f"127.0.0.1:{server.port}")
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("r")
    (named,) = client.get_model_metadata("r")["inputs"]
    image = triton.InferInput(named["name"], [len(files)], named["datatype"])
    image.set_data_from_numpy(files)
    outputs = [
        triton.InferRequestedOutput(name, binary_data=is_binary)
        for name in ("label", "probabilities", "error")
    ]
    answer = client.infer("r", [image], outputs=outputs)
    labels, proba = answer.as_numpy("label"), answer.as_numpy("probabilities")
    as_text = [one.decode() if isinstance(one, bytes) else str(one) for one in labels]
    assert (as_text[0], as_text[3]) == (wanted["label"], "")
    assert proba[0].max() == pytest.approx(wanted["probability"], abs=1e-5)
    assert len(answer.as_numpy("error")[3]) > 0
