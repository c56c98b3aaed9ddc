"""A look at a clip for its own sake: what it is, whether it fits, what an edit of it costs."""

from dataclasses import dataclass

from omniedit.edits.ports import Session
from omniedit.errors import InvalidInputError, UnavailableError
from omniedit.http.ranges import Incomplete
from omniedit.media import ClipFacts, Problem, estimated_credits, verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What a look at a clip brought."""

    facts: ClipFacts
    problems: tuple[Problem, ...]

    @property
    def refusals(self) -> tuple[Problem, ...]:
        """What keeps the clip from being edited, unless the user does something about it."""
        return tuple(problem for problem in self.problems if not problem.is_automatic)

    @property
    def fits(self) -> bool | None:
        """Whether it can be edited; None where its length is unknown, and nothing is against it."""
        if self.refusals:
            return False
        return None if self.facts.duration_s is None else True

    @property
    def estimated_credits(self) -> float | None:
        """About what an edit costs; None where its length is unknown."""
        length_s = self.facts.duration_s
        return None if length_s is None else estimated_credits(length_s)

    @property
    def error(self) -> InvalidInputError | None:
        """Why it does not fit, as an error; None where nothing is known against it."""
        if not self.refusals:
            return None
        first = self.refusals[0]
        reasons = "; ".join(problem.message for problem in self.refusals)
        message = f"{self.facts.name} does not fit: {reasons}"
        return InvalidInputError(message, code=first.code, hint=first.fix)


def probe(session: Session, video: str) -> Findings:
    """Return what a clip is; of a URL little more than the header is read.

    Raises:
        InvalidInputError: It is certainly no clip.
        UnavailableError: Too little of a URL could be read to tell.
    """
    if not video:
        msg = "VIDEO is empty"
        raise InvalidInputError(msg, code="invalid_url")
    facts = session.clips.look(video)
    if isinstance(facts, Incomplete):
        # An edit goes on with a warning: it asks the service to look. Here nobody else is asked.
        msg = f"the clip could not be looked at: {facts.reason}"
        hint = "download it and look at the file; an edit does not depend on this look"
        raise UnavailableError(msg, code="clip_not_read", hint=hint)
    return Findings(facts=facts, problems=verdict(facts))
