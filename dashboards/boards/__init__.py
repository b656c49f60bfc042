"""The Grafana dashboards, as code: `python -m boards` writes them as JSON, `--check` says whether they are current.

One module in `pages/` is one dashboard; the rest of this package is what they are made of.
"""
