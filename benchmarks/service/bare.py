"""The baseline: FastAPI with nothing behind it, on Ray Serve beside Segue, or on uvicorn alone.

It answers with as many bytes as it is asked for, from memory. What Segue takes longer for an answer of the
same size is Segue's own: reading and checking storage, building JSON, middleware, access log.

Without `from __future__ import annotations`: Serve reads the builder's annotations themselves.
"""

from functools import lru_cache

from fastapi import FastAPI, Response
from ray import serve
from ray.serve import Application

app = FastAPI()


@app.get("/bytes/{count}")
async def answer_bytes(count: int) -> Response:
    return Response(_zeros(count), media_type="application/octet-stream")


@lru_cache(maxsize=16)
def _zeros(count: int) -> bytes:
    return bytes(count)


class Bare:
    """As the `Ingress` of `configs/local.yaml`: one replica, the same bounds."""


BareDeployment = serve.deployment(name="Bare", max_ongoing_requests=200, ray_actor_options={"num_cpus": 0.1})(
    serve.ingress(app)(Bare)
)


def build(args: dict[str, str]) -> Application:
    application: Application = BareDeployment.bind()
    return application
