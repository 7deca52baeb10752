"""The route by which a visitor enters the access code, and gives up what it allows."""

import asyncio
import json
import logging
import time

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.access import ACCESS
from app.slowing import PATIENCE, Slowing, visitor_of

URL = "/api/access"
_A_WEEK = 7 * 24 * 3600
_MOST = 1024
_log = logging.getLogger("dropscope")
_slowing = Slowing()


async def enter(request: Request) -> Response:
    """``POST {"code": …}``: 204 and a cookie that scripts cannot read for the right code, 403 or 429 for another.

    Only JSON is read, which a form of another site cannot send.
    """
    code = await _code(request)
    if code is None:
        return _refusal(400, 'Send {"code": "…"} as JSON.')
    if ACCESS.matches(code):
        response = Response(status_code=204, headers={"Cache-Control": "no-store"})
        name, value = ACCESS.given()
        response.set_cookie(name, value, max_age=_A_WEEK, secure=_secure(request), httponly=True, samesite="strict")
        return response
    address = request.client.host if request.client else ""
    wait = _slowing.wrong(address, time.monotonic())
    if wait is None:
        return _refusal(429, "There were too many wrong codes: wait a little, then try again.", PATIENCE)
    _log.warning("A wrong access code from %s", visitor_of(address))
    await asyncio.sleep(wait)
    return _refusal(403, "This is not the access code. It stands where the server was started.")


def leave(request: Request) -> Response:
    """``DELETE``: take the cookie back from this browser."""
    response = Response(status_code=204, headers={"Cache-Control": "no-store"})
    response.delete_cookie(ACCESS.cookie, secure=_secure(request), httponly=True, samesite="strict")
    return response


ROUTES = [Route(URL, enter, methods=["POST"]), Route(URL, leave, methods=["DELETE"])]


async def _code(request: Request) -> str | None:
    """What was sent as the code; None where nothing like one was."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        return None
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MOST:
            return None
    try:
        sent = json.loads(body)
    except (ValueError, RecursionError):
        return None
    code = sent.get("code") if isinstance(sent, dict) else None
    return code if isinstance(code, str) else None


def _secure(request: Request) -> bool:
    return request.url.scheme == "https"


def _refusal(status: int, sentence: str, retry: float | None = None) -> Response:
    headers = {"Cache-Control": "no-store"} | ({} if retry is None else {"Retry-After": f"{retry:.0f}"})
    return JSONResponse({"error": sentence}, status_code=status, headers=headers)
