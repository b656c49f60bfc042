"""Dated corrections of the list prices that ship with Tokentrail: `overlay.toml`, each entry with its evidence."""

import threading
from importlib.resources import files
from typing import Final

from tokentrail.semconv.pricing._base import Lookup, Others
from tokentrail.semconv.pricing.card import RateCard, Source, Unpriced
from tokentrail.semconv.pricing.tables.price_file import read_price_file
from tokentrail.semconv.pricing.tables.table import Table

_FILE: Final = "overlay.toml"


class Overlay:
    """The layer of corrections. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._table: Table | None = None

    def load(self) -> Table:
        """The table, read once. Raises `PriceFileError` or `OSError`, which only a broken installation can."""
        if self._table is None:
            with self._lock:
                if self._table is None:
                    data = files(__package__).joinpath(_FILE).read_bytes()
                    self._table = read_price_file(data, "overlay", Source.OVERLAY)
        return self._table

    def find(self, lookup: Lookup, others: Others) -> RateCard | Unpriced | None:
        """The corrected price, see `Layer.find`."""
        return self.load().find(lookup, others)
