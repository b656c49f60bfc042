"""The numbers as a table for people, as JSON, and as the table of the README."""

from collections.abc import Mapping, Sequence
from typing import Final

from benchmarks.cases import CASES, Case, case
from benchmarks.contenders import CONTENDERS, Kind
from benchmarks.driver import Run
from benchmarks.result import Added, Row

BEGIN: Final = "<!-- benchmarks: begin -->"
END: Final = "<!-- benchmarks: end -->"
_README_CASES: Final = ("plain", "stream_50", "plain_large")
_SIGNALS: Final = {"traces": "spans only", "all": "with providers of metrics and logs beside the spans"}


def text(run: Run, found: Sequence[Row]) -> str:
    """The whole result: added CPU time with its spread, the part of it before the response, the ratio."""
    cases = [each for each in CASES if any(each.name in row.added for row in found)]
    lines = [
        f"Added CPU time a call with {run.sdk}, signals: {run.signals}, us:",
        "all threads (nine of ten resamplings) [before the response] xratio to the cheapest other instrumentation",
    ]
    for content in (False, True):
        part = [row for row in found if row.mode.content == content]
        if not part:
            continue
        head = [f"content {'on' if content else 'off'}", *(each.title for each in cases), "a chunk"]
        table = [head]
        for row in part:
            cells = [_cell(row.added.get(each.name)) for each in cases]
            table.append([row.mode.contender.title, *cells, _chunk(row.chunk_us)])
        lines += ["", *_aligned(table)]
    lines += [f"not measured: {mode.label}: {why}" for mode, why in run.failed.items()]
    if run.load:
        lines += ["", f"load of the machine {min(run.load):.1f} to {max(run.load):.1f}"]
    return "\n".join(lines)


def markdown(run: Run, found: Sequence[Row]) -> str:
    """The README's table: instrumentations only, content off and on side by side, ours in bold."""
    cases = [case(name) for name in _README_CASES if any(name in row.added for row in found)]
    columns = [f"{each.title}{mode}" for mode in ("", ", content") for each in cases]
    lines = [f"| added CPU time a call, us | {' | '.join([*columns, 'a chunk'])} |"]
    lines.append("|---|" + "---:|" * (len(columns) + 1))
    by_mode = {(row.mode.name, row.mode.content): row for row in found}
    for each in CONTENDERS:
        pair = (by_mode.get((each.name, False)), by_mode.get((each.name, True)))
        if each.kind not in (Kind.OURS, Kind.RIVAL) or pair == (None, None):
            continue
        cells = [_short(row.added.get(one.name) if row else None) for row in pair for one in cases]
        cells.append(_chunk(pair[0].chunk_us if pair[0] else None))
        mark = "**" if each.kind is Kind.OURS else ""
        lines.append(f"| {mark}{each.title}{mark} | {' | '.join(f'{mark}{cell}{mark}' for cell in cells)} |")
    lines += ["", f"Measured with {run.sdk}, {_SIGNALS[run.signals]}.{_before(by_mode, cases)}"]
    lines += [f"Not measured: {mode.label} ({why})." for mode, why in run.failed.items()]
    return "\n".join(lines)


def placed(document: str, table: str) -> str:
    """`document` with `table` between its marks; `table` alone when it has none."""
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    return f"{before}{begin}\n{table}\n{end}{after}" if end else f"{table}\n"


def as_json(run: Run, found: Sequence[Row]) -> dict[str, object]:
    """Everything, with the samples."""
    return {
        "sdk": run.sdk,
        "signals": run.signals,
        "load": run.load,
        "failed": {mode.label: why for mode, why in run.failed.items()},
        "rows": [
            {
                "name": row.mode.name,
                "content": row.mode.content,
                "kind": row.mode.contender.kind.value,
                "notes": row.mode.contender.notes,
                "chunk_us": row.chunk_us,
                "cases": {name: _added_json(added) for name, added in row.added.items()},
                "spans": run.spans.get(row.mode, {}),
                "samples": {
                    name: [[sample.total_ns, sample.foreground_ns] for sample in run.samples[row.mode, name]]
                    for name in row.added
                },
            }
            for row in found
        ],
    }


def _added_json(added: Added) -> dict[str, float | None]:
    return {
        "total_us": added.total_us,
        "low_us": added.low_us,
        "high_us": added.high_us,
        "foreground_us": added.foreground_us,
        "median_us": added.median_us,
        "ratio": added.ratio,
    }


def _before(by_mode: Mapping[tuple[str, bool], Row], cases: Sequence[Case]) -> str:
    row = by_mode.get(("tokentrail", False))
    if row is None:
        return ""
    parts = [f"{row.added[each.name].foreground_us:.0f} ({each.title})" for each in cases if each.name in row.added]
    return f" Of Tokentrail's time, before the application has its response: {', '.join(parts)}."


def _cell(added: Added | None) -> str:
    if added is None:
        return "-"
    ratio = f" x{added.ratio:.2f}" if added.ratio is not None else ""
    spread = f"({added.low_us:.0f}..{added.high_us:.0f})"
    return f"{added.total_us:.0f} {spread} [{added.foreground_us:.0f}]{ratio}"


def _short(added: Added | None) -> str:
    return "-" if added is None else f"{added.total_us:.0f}"


def _chunk(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _aligned(table: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    return [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in table
    ]
