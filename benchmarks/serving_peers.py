"""Two servers to compare with, as their guides write them: LitServe on our engine, timm in FastAPI.

python benchmarks/serving_peers.py litserve|timm MODEL --port N
"""

from __future__ import annotations

import base64
import io
import sys
from typing import Any

from fastapi import Request
from litserve import LitAPI, LitServer


def litserve_on(model: str, port: int) -> None:
    server = LitServer(API(model, api_path="/predict"), accelerator="cpu", workers_per_device=2)
    server.run(port=port, generate_client_file=False, log_level="warning")


def timm_eager(model: str, port: int) -> None:
    import timm
    import torch
    import uvicorn
    from fastapi import FastAPI
    from PIL import Image

    torch.set_num_threads(1)
    network = timm.create_model("tf_efficientnet_lite0", pretrained=False, num_classes=2).eval()
    config = timm.data.resolve_model_data_config(network)
    transform = timm.data.create_transform(**config, is_training=False)
    app = FastAPI()

    def run(data: bytes) -> dict[str, Any]:
        image = Image.open(io.BytesIO(data)).convert("RGB")
        with torch.inference_mode():
            proba = network(transform(image)[None]).softmax(1)[0]
        return {"label": int(proba.argmax()), "probability": float(proba.max())}

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.post("/predict")
    async def predict(request: Request) -> dict[str, Any]:
        from starlette.concurrency import run_in_threadpool

        return await run_in_threadpool(run, await request.body())

    uvicorn.run(app, port=port, log_level="warning")


class API(LitAPI):  # type: ignore[misc]
    """Our engine, as LitServe's guides put one behind a route; its workers are processes."""

    def __init__(self, model: str, **options: Any) -> None:
        super().__init__(**options)
        self.folder = model

    def setup(self, device: str) -> None:
        import regraft

        self.model = regraft.load(self.folder)

    def decode_request(self, request: dict[str, str]) -> bytes:
        return base64.b64decode(request["image_data"])

    def predict(self, data: bytes) -> Any:
        found = self.model.answer(data)
        return found.labels[0], float(found.proba[0].max())

    def encode_response(self, output: Any) -> dict[str, Any]:
        return {"label": output[0], "probability": output[1]}


if __name__ == "__main__":
    which, model = sys.argv[1:3]
    serve = {"litserve": litserve_on, "timm": timm_eager}[which]
    serve(model, int(sys.argv[sys.argv.index("--port") + 1]))
