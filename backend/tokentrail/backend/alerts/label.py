"""The Prometheus label of each dimension that alerts can be grouped by."""

import re
from typing import Final

from tokentrail.backend.alerts.definition import ENVIRONMENT, FEATURE, PROPERTY
from tokentrail.semconv import metrics

_LABELS: Final = {
    ENVIRONMENT: metrics.ENVIRONMENT,
    "service": metrics.SERVICE,
    "provider": metrics.PROVIDER,
    "model": metrics.MODEL,
    "operation": metrics.OPERATION,
    "project": metrics.PROJECT,
    "user": metrics.USER,
    "session": metrics.SESSION,
    FEATURE: metrics.FEATURE,
}


def label_of(dimension: str) -> str:
    """Its label: that of the call metrics, `feature`, `user`, `session`, or `property_<key>` in lower case."""
    if dimension.startswith(PROPERTY):
        key = re.sub(r"[^a-z0-9_]", "_", dimension.removeprefix(PROPERTY).lower())
        return metrics.FEATURE if key == FEATURE else f"property_{key}"
    return _LABELS[dimension]
