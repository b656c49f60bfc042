"""The dashboards, in the order of the menu."""

from boards.board import Board
from boards.pages import (
    backend,
    cache_limits,
    cost,
    errors,
    latency,
    overview,
    prompts,
    properties,
    requests,
    sessions,
    users,
)

BOARDS: tuple[Board, ...] = (
    overview.BOARD,
    cost.BOARD,
    latency.BOARD,
    errors.BOARD,
    users.BOARD,
    sessions.BOARD,
    properties.BOARD,
    cache_limits.BOARD,
    requests.BOARD,
    prompts.BOARD,
    backend.BOARD,
)
