"""How much a statement may take."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SqlLimits:
    """Of one statement, except `max_queries`."""

    max_time_s: int = 60
    """The most that a client can ask for; without that it is `default_time_s`."""
    max_memory_bytes: int = 1024 * 1024 * 1024
    max_result_rows: int = 1_000_000
    max_result_bytes: int = 64 * 1024 * 1024
    max_length_bytes: int = 256 * 1024
    """Of its text and its parameters."""
    max_queries: int = 4
    """Statements that run at once; others wait for `wait_s`, and fail then."""
    wait_s: float = 10.0

    @property
    def default_time_s(self) -> int:
        """For who asks for no time."""
        return min(30, self.max_time_s)
