"""What alerts measured, as Prometheus has it, beside what they compare that with."""

from typing import Final

from boards.query import Prom

ENVIRONMENT: Final = "deployment_environment_name"
PROVIDER: Final = "gen_ai_provider_name"
MODEL: Final = "gen_ai_request_model"
_VARIABLES: Final = {ENVIRONMENT: "env", PROVIDER: "provider", MODEL: "model"}
"""The shared variable that filters by a label."""


def alerted(alert: str, *by: str, below: bool = False) -> list[Prom]:
    """Value and threshold of an alert over time, by the labels that it is grouped by, the environment among them.

    Several backends over one store measure the same: the worst of them counts, the least with `below`.
    """
    filters = "".join(f', {label}=~"${_VARIABLES[label]}"' for label in by if label in _VARIABLES)
    legend = " ".join(f"{{{{{label}}}}}" for label in by)
    worst = "min" if below else "max"
    value, threshold = (
        f'{worst} by ({", ".join(by)}) (tokentrail_alert_{name}{{job=~"$job", alert="{alert}"{filters}}})'
        for name in ("value", "threshold")
    )
    return [Prom(value, legend), Prom(threshold, f"threshold: {legend}")]
