"""Pictures of the dashboards, for people who have no Grafana at hand: `python -m pictures` draws them.

They are drawn from the JSON that Grafana reads and from the answers to its own queries; they are no screenshots.
`page.draw` is pure: the same dashboard, answers and time make the same bytes. `answers.py` asks, the rest draws.
"""
