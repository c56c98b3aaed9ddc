"""What to do about the service's error codes."""

from typing import Final

from omniedit.errors import Hint
from omniedit.models import TaskError

_ADVICE: Final = {
    "content_policy_violation": "change the prompt or the clip: the content policy refuses them",
    "generation_failed_no_content": "word the prompt differently",
    "generation_timeout": "submit the edit again later",
    "image_dimension_mismatch": "use another clip: its dimensions are refused",
    "image_processing_error": "use another clip: the service cannot read this one",
    "invalid_parameters": "check the clip and the prompt: the service refuses them as they are",
    "quota_exceeded": "submit the edit again later, and fewer at a time",
    "request_cancelled": Hint("make it again if it is still wanted: {}", "edit … --again"),
    "resource_exhausted": "submit the edit again later: the service is busy",
    "resource_not_found": "check that the clip's URL still works",
    "service_error": "submit the edit again later",
    "service_unavailable": "submit the edit again later",
    "unknown_error": "ask EvoLink's support, naming the task ID",
}


def advice_on(error: TaskError) -> str | None:
    """Return the service's own suggestion, else what its code calls for."""
    return error.suggestion or _ADVICE.get(error.code)
