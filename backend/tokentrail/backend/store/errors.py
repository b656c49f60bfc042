"""What can go wrong in a store.

StoreError
└── StoreUnavailable   trying again later may help
"""


class StoreError(Exception):
    """The store refused the work, and would refuse it again."""

    code: int | None = None
    """ClickHouse's number for what went wrong, where it said one."""


class StoreUnavailable(StoreError):  # noqa: N818 - what it says is a state, which may pass
    """The store cannot do the work now: locked by another process, disk full, unreachable."""
