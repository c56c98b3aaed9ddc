"""The documented error envelope, and what each status says in it."""

from __future__ import annotations

from http import HTTPStatus
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

# status -> (code, type, message)
_DOCUMENTED: Mapping[int, tuple[str, str, str]] = MappingProxyType(
    {
        400: ("invalid_request", "invalid_request_error", "Invalid request parameters"),
        401: ("unauthorized", "authentication_error", "Invalid or expired token"),
        402: (
            "insufficient_quota",
            "insufficient_quota",
            "Insufficient quota. Please top up your account.",
        ),
        403: (
            "model_access_denied",
            "invalid_request_error",
            "Token does not have access to model: gemini-omni-flash-video-edit",
        ),
        404: ("not_found", "invalid_request_error", "The requested resource does not exist"),
        405: ("method_not_allowed", "invalid_request_error", "Method not allowed"),
        409: (
            "idempotency_conflict",
            "invalid_request_error",
            "This Idempotency-Key was already used with another request body",
        ),
        413: ("request_too_large", "invalid_request_error", "The request body is too large"),
        429: (
            "rate_limit_exceeded",
            "rate_limit_error",
            "Too many requests, please try again later",
        ),
        500: ("internal_error", "api_error", "Internal server error"),
        502: ("bad_gateway", "api_error", "The provider gave no usable answer"),
        503: ("service_unavailable", "api_error", "Service temporarily unavailable"),
        504: ("gateway_timeout", "api_error", "The provider did not answer in time"),
    }
)


class Refusal(Exception):  # noqa: N818 - an answer of the service, not a failure of the program
    """A request is answered with an error envelope."""

    def __init__(
        self,
        status: int,
        message: str | None = None,
        *,
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        documented = _DOCUMENTED.get(status) or _undocumented(status)
        self.status = status
        self.code = code or documented[0]
        self.kind = documented[1]
        self.message = message or documented[2]
        self.param = param
        self.headers = dict(headers or {})
        super().__init__(self.message)

    def envelope(self) -> dict[str, dict[str, str]]:
        """Return the reply's JSON object."""
        error = {"code": self.code, "message": self.message, "type": self.kind}
        if self.param is not None:
            error["param"] = self.param
        return {"error": error}


def _undocumented(status: int) -> tuple[str, str, str]:
    kind = "invalid_request_error" if status < HTTPStatus.INTERNAL_SERVER_ERROR else "api_error"
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = f"HTTP status {status}"
    return phrase.lower().replace(" ", "_").replace("'", ""), kind, phrase
