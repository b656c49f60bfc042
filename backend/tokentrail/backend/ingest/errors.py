"""Why a request was not stored, besides what the store and the decoder raise.

NotNow
├── QueueFull   too much is waiting already
└── Stopping    the process is shutting down
"""

from typing import Final

QUEUE_FULL_DELAY_S: Final = 1.0
"""After this the queue has been committed several times over. Exporters give up after about 10 s in all."""
UNAVAILABLE_DELAY_S: Final = 2.0
"""For a store that is down and for a process that stops; another attempt must still fit into the exporter's budget."""


class NotNow(Exception):  # noqa: N818  # it is an answer to a sender, not a fault
    """Nothing of the request was stored; the sender is to send it again."""

    reason = "not_now"
    retry_after_s = UNAVAILABLE_DELAY_S


class QueueFull(NotNow):
    """Too much is waiting to be committed."""

    reason = "queue_full"
    retry_after_s = QUEUE_FULL_DELAY_S


class Stopping(NotNow):
    """The process is shutting down."""

    reason = "stopping"
