"""What can be wrong with a question.

QueryError     a parameter that the API does not know or cannot read
RefusedError   a change that cannot be made as things are now
"""

from collections.abc import Sequence


class QueryError(Exception):
    """A parameter of a request is wrong: which one, why, and what would be right."""

    def __init__(self, parameter: str, message: str, allowed: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.parameter = parameter
        self.message = message
        self.allowed = tuple(allowed)
        """The values, or names, that would have been right, where they can be listed."""


class RefusedError(Exception):
    """What is asked for cannot be done as things are now; nothing was changed. The message says what to do."""
