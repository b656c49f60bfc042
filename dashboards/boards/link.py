"""Links from a number to what is behind it. All keep the time and the shared filters."""

from typing import Final

from grafana_foundation_sdk.models.dashboard import DashboardLink, DashboardLinkType

REQUESTS: Final = "tokentrail-requests"
_FILTERS: Final = "&".join(
    f"${{{name}:queryparam}}"
    for name in ("prometheus", "clickhouse", "env", "service", "provider", "model", "operation", "project")
)


def field(name: str) -> str:
    """The value of another column of the row that is clicked, fit for an address."""
    return f"${{__data.fields.{name}:percentencode}}"


VALUE: Final = "${__value.raw:percentencode}"
"""The value that is clicked."""


def label(name: str) -> str:
    """The label of the series that is clicked, fit for an address."""
    return f"${{__field.labels.{name}:percentencode}}"


def to(uid: str, *without: str, **variables: str) -> str:
    """The address of a dashboard with `variables` set; filters of the same name, and those `without`, are not kept."""
    replaced = {*variables, *without}
    kept = "&".join(part for part in _FILTERS.split("&") if part[2:].partition(":")[0] not in replaced)
    own = "".join(f"&var-{name}={value}" for name, value in variables.items())
    return f"/d/{uid}?${{__url_time_range}}&{kept}{own}"


def to_requests(**variables: str) -> str:
    """The calls behind a number."""
    return to(REQUESTS, **variables)


def between(first: str, last: str, url: str) -> str:
    """`url` in place of the time that is shown with that between two columns: texts, milliseconds since the epoch."""
    times = "&".join(f"{end}=${{__data.fields.{name}:raw}}" for end, name in (("from", first), ("to", last)))
    return url.replace("${__url_time_range}", times)


def data_link(title: str, url: str) -> dict[str, object]:
    """A link as fields have it."""
    return {"title": title, "url": url}


def to_all_dashboards() -> DashboardLink:
    """The menu of all dashboards, which keeps the time and the filters."""
    return DashboardLink(
        title="Dashboards",
        type_val=DashboardLinkType.DASHBOARDS,
        icon="apps",
        tooltip="",
        tags=["tokentrail"],
        as_dropdown=True,
        target_blank=False,
        include_vars=True,
        keep_time=True,
    )
