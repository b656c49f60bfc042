"""The timer of the alerts, and what of it becomes metrics."""

import os
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from support.backend_process import samples
from support.memory_store import MemoryStore
from tokentrail.backend.alerts.definition import AlertFileError
from tokentrail.backend.alerts.file import AlertFile
from tokentrail.backend.alerts.runner import AlertRunner
from tokentrail.backend.metrics.alerts import AlertMetrics
from tokentrail.backend.metrics.registry import Metrics
from tokentrail.backend.store.errors import StoreUnavailable

ALERT = "{{name: {name}, metric: requests, threshold: {threshold}, window: 1m, every: {every}, severity: low}}"
LONG = "x" * 300
START_NS = 1000 * 10**9


def _row(**columns: object) -> dict[str, object]:
    """What the store says of five calls of now."""
    times = {"coming_ns": 0, "oldest_ns": START_NS, "begun_ns": START_NS}
    return {"value": 5.0, "requests": 5, "seen": 5, **times, **columns}


class _Store(MemoryStore):
    """Answers every question with `rows`, or not at all."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[dict[str, object]] = [_row()]
        self.fails = False
        self.asked = 0

    def query(self, sql: str, parameters: Mapping[str, object] | None = None) -> list[dict[str, object]]:
        self.asked += 1
        if self.fails:
            raise StoreUnavailable("away")
        return self.rows


def _write(path: Path, *alerts: str) -> None:
    path.write_text("defaults: false\nalerts:\n" + "".join(f"  - {alert}\n" for alert in alerts))
    os.utime(path, ns=(time.time_ns(), time.time_ns() + path.stat().st_size))


def _alert(name: str = "A", threshold: int = 3, every: str = "30s") -> str:
    return ALERT.format(name=name, threshold=threshold, every=every)


class _Scene:
    def __init__(self, path: Path) -> None:
        self.path, self.store, self.now_ns = path, _Store(), START_NS
        self.runner = AlertRunner(self.store, AlertFile(path), lambda: self.now_ns)
        self.metrics = Metrics("1")
        self.metrics.watch_alerts(AlertMetrics(self.runner.standings, self.runner.file))

    def read(self, name: str) -> dict[str, float]:
        """By alert, or by nothing."""
        text = self.metrics.expose()[0].decode()
        return {labels.get("alert", ""): value for sample, labels, value in samples(text) if sample == name}


@pytest.fixture
def scene(tmp_path: Path) -> _Scene:
    _write(tmp_path / "alerts.yaml", _alert())
    return _Scene(tmp_path / "alerts.yaml")


def test_nothing_is_told_before_it_was_measured(scene: _Scene) -> None:
    assert scene.read("tokentrail_alert_value") == {}
    assert scene.read("tokentrail_alert_evaluation_timestamp_seconds") == {"A": 0.0}
    assert scene.read("tokentrail_alert_evaluation_interval_seconds") == {"A": 30.0}


def test_an_alert_is_told_with_value_requests_and_threshold(scene: _Scene) -> None:
    scene.runner.evaluate_due(time.monotonic())

    assert scene.read("tokentrail_alert_value") == {"A": 5.0}
    assert scene.read("tokentrail_alert_requests") == {"A": 5.0}
    assert scene.read("tokentrail_alert_threshold") == {"A": 3.0}
    assert scene.read("tokentrail_alert_offenders") == {"A": 1.0}
    assert scene.read("tokentrail_alert_evaluation_timestamp_seconds") == {"A": 1000.0}
    assert scene.read("tokentrail_alert_evaluation_failures_total") == {"A": 0.0}


def test_each_alert_is_evaluated_at_its_own_interval(scene: _Scene) -> None:
    _write(scene.path, _alert(), _alert("B", every="10s"))
    scene.runner.adopt_changes()
    start_s = time.monotonic()

    next_s = [scene.runner.evaluate_due(start_s + passed_s) - start_s for passed_s in (0, 9, 10, 20, 29, 30)]

    assert [round(each) for each in next_s] == [10, 10, 20, 30, 30, 40]
    assert scene.store.asked == 6


def test_an_idle_backend_does_not_ask_what_can_only_have_the_same_answer(scene: _Scene) -> None:
    scene.store.rows, scene.store.generation = [], 7
    asked = []
    for step in range(25):  # twelve and a half minutes
        scene.runner.evaluate_due(10.0**6 + 30 * step)
        asked.append(scene.store.asked)
        scene.now_ns += 30 * 10**9

    assert asked[0] == asked[19] == 1, "nothing was there, and nothing came"
    assert asked[20] == 1, "ten minutes"
    assert asked[21] == 2, "longer all the same: a clock may be ahead"
    assert scene.read("tokentrail_alert_evaluation_timestamp_seconds") == {"A": scene.now_ns / 1e9 - 30}

    scene.store.generation = 8
    scene.runner.evaluate_due(10.0**6 + 30 * 25)
    assert scene.store.asked == 3, "calls were stored"


def test_calls_that_stay_in_the_window_are_not_asked_for_again(scene: _Scene) -> None:
    scene.store.generation = 7
    asked = []
    for step in range(5):
        scene.runner.evaluate_due(10.0**6 + 30 * step)
        asked.append((scene.store.asked, scene.read("tokentrail_alert_value")["A"]))
        scene.now_ns += 30 * 10**9
        scene.store.rows = [_row(value=4.0, oldest_ns=START_NS + 40 * 10**9)]

    # The window is a minute: at 60 s the oldest is still in it. Of those that were there at 90 s, it leaves at 100 s.
    assert asked == [(1, 5.0), (1, 5.0), (1, 5.0), (2, 4.0), (3, 4.0)]
    assert scene.read("tokentrail_alert_evaluation_timestamp_seconds") == {"A": 1120.0}


def test_a_clock_that_was_set_back_is_no_reason_to_know_better(scene: _Scene) -> None:
    scene.store.generation = 7
    scene.runner.evaluate_due(10.0**6)
    scene.now_ns -= 1

    scene.runner.evaluate_due(10.0**6 + 30)

    assert scene.store.asked == 2


def test_where_others_write_too_it_is_asked_every_time(scene: _Scene) -> None:
    scene.store.rows, scene.store.generation = [], None

    for step in range(3):
        scene.runner.evaluate_due(10.0**6 + 30 * step)
        scene.now_ns += 30 * 10**9

    assert scene.store.asked == 3


def test_a_failed_evaluation_is_counted_and_what_is_too_old_is_not_told_any_more(scene: _Scene) -> None:
    start_s = time.monotonic()
    scene.runner.evaluate_due(start_s)
    scene.store.fails = True
    scene.runner.evaluate_due(start_s + 30)
    scene.now_ns += 210 * 10**9
    last = scene.read("tokentrail_alert_value")
    scene.now_ns += 1

    assert last == {"A": 5.0}
    assert scene.read("tokentrail_alert_value") == {}
    assert scene.read("tokentrail_alert_evaluation_failures_total") == {"A": 1.0}
    assert scene.read("tokentrail_alert_evaluation_timestamp_seconds") == {"A": 1000.0}


def test_a_changed_file_is_taken_over_and_one_with_errors_is_not(scene: _Scene) -> None:
    scene.runner.evaluate_due(time.monotonic())
    _write(scene.path, _alert(), _alert("B"))
    scene.runner.adopt_changes()
    kept = scene.read("tokentrail_alert_value")
    scene.path.write_text("alerts: 5")
    scene.runner.adopt_changes()
    broken = scene.read("tokentrail_alert_file_last_reload_successful")
    still = [each.definition.name for each in scene.runner.standings()]
    _write(scene.path, _alert("C"))
    scene.runner.adopt_changes()

    assert kept == {"A": 5.0}
    assert (broken, still) == ({"": 0.0}, ["A", "B"])
    assert scene.read("tokentrail_alert_file_last_reload_successful") == {"": 1.0}
    assert [each.definition.name for each in scene.runner.standings()] == ["C"]


def test_a_file_that_vanishes_leaves_its_alerts_in_force(scene: _Scene) -> None:
    scene.path.unlink()

    scene.runner.adopt_changes()

    assert [each.definition.name for each in scene.runner.standings()] == ["A"]
    assert not scene.runner.file.is_in_force


def test_a_backend_does_not_start_with_a_file_that_has_errors(tmp_path: Path) -> None:
    with pytest.raises(AlertFileError, match="cannot be read"):
        AlertFile(tmp_path / "nowhere.yaml")


def test_labels_that_are_alike_once_cut_are_told_once(tmp_path: Path) -> None:
    path = tmp_path / "alerts.yaml"
    _write(path, _alert().replace("metric", "group_by: user, metric"))
    scene = _Scene(path)
    scene.store.rows = [_row(g0=LONG + each, value=9.0, requests=1) for each in "ab"]

    scene.runner.evaluate_due(time.monotonic())

    text = scene.metrics.expose()[0].decode()
    found = [labels["user"] for name, labels, _ in samples(text) if name == "tokentrail_alert_value"]
    assert found == [LONG[:200]]
    assert scene.read("tokentrail_alert_offenders") == {"A": 2.0}


def test_the_thread_goes_on_after_an_error_and_ends_when_told(scene: _Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    failures = iter([RuntimeError("once")])
    adopt = scene.runner.adopt_changes

    def fail_once() -> None:
        if (error := next(failures, None)) is not None:
            raise error
        adopt()

    monkeypatch.setattr(scene.runner, "adopt_changes", fail_once)
    monkeypatch.setattr("tokentrail.backend.alerts.runner.CHECK_S", 0.01)
    scene.runner.start()
    deadline = time.monotonic() + 10
    while not scene.store.asked and time.monotonic() < deadline:
        time.sleep(0.01)
    scene.runner.close()
    scene.runner.close()

    assert scene.store.asked == 1
