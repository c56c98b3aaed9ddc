"""What the service, or the way to it, says no to."""

from omniedit.errors.base import OmniEditError


class ServiceError(OmniEditError):
    """The service, or the way to it, said no."""

    kind = "service"


class RequestRefusedError(ServiceError):
    """The service finds the request wrong (400 and other 4xx)."""

    kind = "request_refused"


class WrongBaseURLError(RequestRefusedError):
    """404 or 405 where an endpoint was expected: the base URL is not the API's."""

    kind = "wrong_base_url"


class AuthenticationError(ServiceError):
    """The key was refused, or may not use the model (401, 403, and the key codes)."""

    kind = "unauthorized"


class QuotaError(ServiceError):
    """Not enough credits, or the key's own limit is reached (402, and the quota codes)."""

    kind = "insufficient_quota"


class TaskNotFoundError(ServiceError):
    """The service does not know the task."""

    kind = "task_not_found"


class EndpointMissingError(ServiceError):
    """An endpoint that is not in the published reference is not offered here."""

    kind = "endpoint_missing"


class IdempotencyConflictError(ServiceError):
    """The request ID already belongs to another request."""

    kind = "idempotency_conflict"


class UnavailableError(ServiceError):
    """The service or the network does not answer; worth trying later."""

    kind = "unavailable"


class RateLimitedError(UnavailableError):
    """Too many requests (429): certainly nothing was accepted."""

    kind = "rate_limited"


class ServerError(UnavailableError):
    """The service failed (5xx); a submission may have been accepted all the same."""

    kind = "server_error"


class UnreadableReplyError(UnavailableError):
    """The reply is not what the API reference says; a submission may have been accepted."""

    kind = "unreadable_reply"


class NetworkError(UnavailableError):
    """The connection broke or timed out; the request may have arrived."""

    kind = "network"


class NotConnectedError(NetworkError):
    """No connection came about; certainly nothing was sent."""

    kind = "not_connected"


class BlockedClientError(UnavailableError):
    """The CDN refuses this client (Cloudflare error 1010); a fresh link would not help."""

    kind = "blocked_client"


class BrokenDownloadError(UnavailableError):
    """The download keeps breaking off."""

    kind = "broken_download"
