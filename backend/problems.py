"""Every error as `application/problem+json` (RFC 9457) with a stable `code`."""

from __future__ import annotations

import http
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

__all__ = ["Problem", "answer_problem", "install", "unavailable"]

CODES = {400: "bad_request", 404: "not_found", 405: "method_not_allowed", 413: "body_too_large"}


class Problem(Exception):
    """A refusal with its HTTP status, a stable `code`, a sentence, and what else the client should know."""

    def __init__(
        self, status: int, code: str, detail: str, *, headers: Mapping[str, str] | None = None, **members: object
    ) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail = status, code, detail
        self.headers, self.members = dict(headers or {}), members


def unavailable(code: str, detail: str) -> Problem:
    """503: something behind the API does not answer; trying again in a moment makes sense."""
    return Problem(503, code, detail, headers={"Retry-After": "2"})


def answer_problem(problem: Problem) -> JSONResponse:
    """The response that a Problem stands for; members that are None or empty are left out."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": http.HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "code": problem.code,
        "detail": problem.detail,
    }
    body |= {name: value for name, value in problem.members.items() if value not in (None, "", [])}
    headers = {"Cache-Control": "no-store", **problem.headers}
    return JSONResponse(body, problem.status, headers=headers, media_type="application/problem+json")


def install(app: FastAPI) -> None:
    """Have every error of routing, validation and our own answered as a problem. (500: `requests.RequestLog`.)"""

    @app.exception_handler(Problem)
    async def refuse(request: Request, error: Problem) -> JSONResponse:
        return answer_problem(error)

    @app.exception_handler(HTTPException)
    async def refuse_route(request: Request, error: HTTPException) -> JSONResponse:
        code = CODES.get(error.status_code, "http_error")
        return answer_problem(Problem(error.status_code, code, f"{error.detail}.", headers=error.headers))

    @app.exception_handler(RequestValidationError)
    async def refuse_request(request: Request, error: RequestValidationError) -> JSONResponse:
        return answer_problem(invalid(error.errors()))


def invalid(faults: Any) -> Problem:
    """422 for pydantic's list of faults; what was sent is not repeated."""
    errors = [{"field": ".".join(str(part) for part in one["loc"]), "message": one["msg"]} for one in faults]
    detail = "; ".join(f"{one['field'] or 'body'}: {one['message']}" for one in errors)
    return Problem(422, "request_invalid", detail or "The request is not valid.", errors=errors)
