"""Read-only routes beside Streamlit's own: points of live curves, single batches, and plotly.js for the components."""

import gzip
from functools import cache
from importlib.metadata import version
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app import live, services
from core.home import HomeError
from core.runs import StoreError

PLOTLY_URL = f"/assets/plotly-{version('plotly')}.min.js"
_A_YEAR = "public, max-age=31536000, immutable"


def metrics(request: Request) -> Response:
    """States and new points of runs: ``/api/runs/<id>,<id>/metrics?since=<seq of the last answer>``."""
    ids = list(dict.fromkeys(key for key in request.path_params["ids"].split(",") if key))
    since = request.query_params.get("since", "0")
    if not ids or len(ids) > live.MAX_RUNS:
        return _refusal(400, f"Ask for 1 to {live.MAX_RUNS} runs at once; this address names {len(ids)}.")
    if not (since.isascii() and since.isdigit() and len(since) < 16):
        return _refusal(400, "“since” takes a whole number from 0, the “seq” of the last answer.")
    try:
        answer = live.snapshot(services.store(), ids, int(since), services.turns)
    except (HomeError, StoreError) as error:
        return _refusal(503, str(error))
    return JSONResponse(answer, headers={"Cache-Control": "no-store"})


def step(request: Request) -> Response:
    """What a run's last step on one batch did, as :func:`app.step_view.pack` lays it out: ``/api/runs/<id>/step``."""
    from app.step_view import pack  # needs torch, which the server loads behind its first answers

    try:
        known = services.existing([request.path_params["id"]])
        batch = services.batch_of(known[0].id) if known else None
        if batch is None:
            return _refusal(404, "No step on a single batch of this run is kept: take one.")
        body = pack(batch)
    except (HomeError, StoreError) as error:
        return _refusal(503, str(error))
    return Response(body, media_type="application/octet-stream", headers={"Cache-Control": "no-store"})


def plotly(request: Request) -> Response:
    """plotly.js of the installed plotly package; its address carries the version, so a browser keeps it."""
    headers = {"Cache-Control": _A_YEAR, "Vary": "Accept-Encoding"}
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(_plotly_packed(), media_type="text/javascript", headers=headers | {"Content-Encoding": "gzip"})
    return Response(_plotly(), media_type="text/javascript", headers=headers)


# Plain functions: Starlette runs them in threads, so a slow disk never holds up the event loop.
ROUTES = [
    Route("/api/runs/{ids}/metrics", metrics, methods=["GET"]),
    Route("/api/runs/{id}/step", step, methods=["GET"]),
    Route(PLOTLY_URL, plotly, methods=["GET"]),
]


def _refusal(status: int, sentence: str) -> Response:
    return JSONResponse({"error": sentence}, status_code=status, headers={"Cache-Control": "no-store"})


def _plotly() -> bytes:
    return files("plotly").joinpath("package_data", "plotly.min.js").read_bytes()


@cache
def _plotly_packed() -> bytes:
    return gzip.compress(_plotly(), compresslevel=6)
