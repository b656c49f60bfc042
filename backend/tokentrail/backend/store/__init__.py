"""Where rows live: the store contract, its errors, and one module per store."""

from tokentrail.backend.store._base import Store
from tokentrail.backend.store.errors import StoreError, StoreUnavailable

__all__ = ["Store", "StoreError", "StoreUnavailable"]
