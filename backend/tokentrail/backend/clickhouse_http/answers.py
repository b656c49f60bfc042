"""What goes back: status, headers and body, as ClickHouse sends them."""

import gzip
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tokentrail.backend.clickhouse_http.errors import BAD_ARGUMENTS, RefusedError, SqlError

PLAIN: Final = "text/plain; charset=UTF-8"
MIN_GZIP_BYTES: Final = 1024

_TSV: Final = "text/tab-separated-values; charset=UTF-8"
_JSON: Final = "application/json; charset=UTF-8"
_LINES: Final = "application/x-ndjson; charset=UTF-8"
_CSV: Final = "text/csv; charset=UTF-8"
_BINARY: Final = "application/octet-stream"
FORMATS: Final[Mapping[str, str]] = {
    "Native": _BINARY,
    **dict.fromkeys(("TabSeparated", "TSV", "TabSeparatedRaw", "TSVRaw"), _TSV),
    **dict.fromkeys(("TabSeparatedWithNames", "TSVWithNames", "TSVRawWithNames"), _TSV),
    **dict.fromkeys(("TabSeparatedWithNamesAndTypes", "TSVWithNamesAndTypes", "TSVRawWithNamesAndTypes"), _TSV),
    **dict.fromkeys(("CSV", "CSVWithNames", "CSVWithNamesAndTypes"), _CSV),
    **dict.fromkeys(("JSON", "JSONStrings", "JSONCompact", "JSONCompactStrings", "JSONColumns"), _JSON),
    **dict.fromkeys(("JSONColumnsWithMetadata", "JSONCompactColumns"), _JSON),
    **dict.fromkeys(("JSONEachRow", "JSONLines", "NDJSON", "JSONStringsEachRow", "JSONCompactEachRow"), _LINES),
    **dict.fromkeys(("JSONCompactEachRowWithNames", "JSONCompactEachRowWithNamesAndTypes"), _LINES),
    **dict.fromkeys(("RowBinary", "RowBinaryWithNames", "RowBinaryWithNamesAndTypes"), _BINARY),
    **dict.fromkeys(("Parquet", "Arrow", "ArrowStream"), _BINARY),
    **dict.fromkeys(("Values", "Vertical", "Pretty", "PrettyCompact", "PrettySpace", "LineAsString", "Null"), PLAIN),
    "Markdown": "text/markdown; charset=UTF-8",
    "XML": "application/xml; charset=UTF-8",
}
"""Formats that write what they are given and nothing else, and their content types."""
DEFAULT_FORMAT: Final = "TabSeparated"

_ACCEPTS_GZIP: Final = re.compile(
    r"(?:^|,)\s*gzip\s*(?:;\s*q=(?!0(?:\.0*)?\s*(?:,|$))[\d.]+\s*)?(?:,|$)", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Response:
    """An answer."""

    status: int
    content_type: str
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()


def require_format(name: str) -> str:
    """`name`, or the default for none. Raises `RefusedError` for one that is not possible here."""
    name = name or DEFAULT_FORMAT
    if name not in FORMATS:
        raise RefusedError(f"the format {name[:60]} is not possible here", BAD_ARGUMENTS)
    return name


def answer(body: bytes, format_name: str, query_id: str) -> Response:
    """A result."""
    headers = (
        (b"x-clickhouse-format", format_name.encode()),
        (b"x-clickhouse-timezone", b"UTC"),
        (b"x-clickhouse-query-id", query_id.encode()),
    )
    return Response(200, FORMATS[format_name], body, headers)


def failure(error: SqlError, query_id: str = "") -> Response:
    """What a client tells failures apart by: status, body and header."""
    headers: tuple[tuple[bytes, bytes], ...] = ((b"x-clickhouse-exception-code", str(error.code).encode()),)
    if error.status == 503:
        headers += ((b"retry-after", b"1"),)
    if query_id:
        headers += ((b"x-clickhouse-query-id", query_id.encode()),)
    return Response(error.status, PLAIN, error.text.encode("utf-8", "replace"), headers)


def compressed(response: Response, accept_encoding: str) -> Response:
    """`response`, in gzip where that is wanted and worth it. Takes its time: about 10 ms a megabyte."""
    if len(response.body) < MIN_GZIP_BYTES or not _ACCEPTS_GZIP.search(accept_encoding):
        return response
    body = gzip.compress(response.body, compresslevel=1, mtime=0)
    return Response(response.status, response.content_type, body, (*response.headers, (b"content-encoding", b"gzip")))
