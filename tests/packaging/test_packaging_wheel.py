"""What is built and what installing it gives.

These tests use the network: pip fetches the build backend, and what a light installation depends on, from the package
index that it is configured for. Without one they fail and show what pip said. About 20 seconds.
"""

import json
import os
import subprocess
import sys
import venv
import zipfile
from collections.abc import Sequence
from configparser import ConfigParser
from pathlib import Path

import pytest

from support.otlp_sink import listening
from support.sse_server import CHAT_REQUEST, CHAT_RESPONSE, STREAM_REQUEST, WHOLE_STREAM, json_reply, serving, sse_reply

ROOT = Path(__file__).parents[2]
PORTIONS = ("semconv", "instrumentation", "backend")
MAX_LIGHT_BYTES = 40_000_000
INSTALLERS = ("pip", "setuptools", "pkg_resources", "_distutils_hack", "distutils-precedence.pth")


def pip(python: Path, *arguments: str) -> None:
    done = subprocess.run(
        [python, "-m", "pip", "--disable-pip-version-check", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, f"pip {' '.join(arguments)} (needs the network): {done.stderr[-2000:]}"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built wheel."""
    directory = tmp_path_factory.mktemp("wheel")
    pip(Path(sys.executable), "wheel", "--quiet", "--no-deps", "--wheel-dir", str(directory), str(ROOT))
    (built,) = directory.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def names(wheel: Path) -> list[str]:
    """The names of the files in the wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


@pytest.fixture(scope="module")
def light(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of a fresh environment with the wheel and nothing that it does not ask for."""
    directory = tmp_path_factory.mktemp("light")
    venv.create(directory, with_pip=True)
    pip(directory / "bin" / "python", "install", "--quiet", str(wheel))
    return directory / "bin"


def test_the_wheel_holds_every_module_of_the_project_and_nothing_else(names: Sequence[str]) -> None:
    expected = {
        path.relative_to(ROOT / portion).as_posix()
        for portion in PORTIONS
        for path in (ROOT / portion / "tokentrail").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }

    found = {name for name in names if ".dist-info/" not in name}

    assert found == expected
    assert {name.split("/")[1] for name in found} == set(PORTIONS)
    assert not [name for name in found if "test" in name]


def test_every_portion_is_typed(names: Sequence[str]) -> None:
    assert {f"tokentrail/{portion}/py.typed" for portion in PORTIONS} <= set(names)


def test_the_migrations_are_there_without_a_gap(names: Sequence[str]) -> None:
    folder = "tokentrail/backend/store/migrations/"

    numbers = sorted(int(name.removeprefix(folder)[:4]) for name in names if name.startswith(folder))

    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) >= 2


def test_the_wheel_declares_its_licence_and_extras(wheel: Path, names: Sequence[str]) -> None:
    (metadata_name,) = [name for name in names if name.endswith(".dist-info/METADATA")]
    metadata = zipfile.ZipFile(wheel).read(metadata_name).decode()

    assert "License-Expression: Apache-2.0" in metadata
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert "Provides-Extra: backend" in metadata
    assert "Requires-Python: >=3.11" in metadata


def test_a_light_installation_stays_small(light: Path) -> None:
    (packages,) = (light.parent / "lib").glob("python*/site-packages")

    size = sum(
        path.stat().st_size
        for top in packages.iterdir()
        if not top.name.startswith(INSTALLERS)
        for path in (top.rglob("*") if top.is_dir() else [top])
        if path.is_file()
    )

    assert size < MAX_LIGHT_BYTES, f"{size / 1e6:.1f} MB"


def test_a_light_installation_says_what_serving_needs(light: Path) -> None:
    done = subprocess.run([light / "tokentrail", "serve"], capture_output=True, text=True, check=False, timeout=60)

    assert done.returncode == 2
    assert done.stderr == 'This command needs the backend: pip install "tokentrail[backend]"\n'


def test_the_entry_points_resolve(light: Path, wheel: Path, names: Sequence[str]) -> None:
    (listing,) = [name for name in names if name.endswith(".dist-info/entry_points.txt")]
    declared = ConfigParser(delimiters=("=",))
    declared.read_string(zipfile.ZipFile(wheel).read(listing).decode())
    groups = ("opentelemetry_instrumentor", "opentelemetry_distro", "opentelemetry_configurator", "console_scripts")
    script = (
        "import json; from importlib.metadata import distribution;"
        "print(json.dumps({e.group: callable(e.load()) for e in distribution('tokentrail').entry_points}))"
    )

    done = subprocess.run([light / "python", "-c", script], capture_output=True, text=True, check=True, timeout=60)

    assert set(declared.sections()) == set(groups)
    assert json.loads(done.stdout) == dict.fromkeys(groups, True)


_APP = """
import json, sys
import httpx2
url, plain, streamed = sys.argv[1:]
httpx2.post(url, json=json.loads(plain))
httpx2.post(url, json=json.loads(streamed))
servers = ("chdb", "grpc", "uvicorn", "httptools", "uvloop", "prometheus_client", "rich", "clickhouse_driver")
import tokentrail.instrumentation
print(json.dumps([name for name in sys.modules if name.partition(".")[0] in servers or "tokentrail.backend" in name]))
"""


def test_an_application_on_a_light_installation_is_traced_and_loads_no_server(light: Path, tmp_path: Path) -> None:
    pip(light / "python", "install", "--quiet", "httpx2>=2,<3")
    app = tmp_path / "app.py"
    app.write_text(_APP)
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("OTEL_", "TOKENTRAIL_", "PYTHON"))}
    with listening() as sink, serving() as provider:
        provider.script(json_reply(CHAT_RESPONSE), sse_reply(*WHOLE_STREAM))
        bodies = (json.dumps(CHAT_REQUEST), json.dumps(STREAM_REQUEST))
        done = subprocess.run(
            [light / "opentelemetry-instrument", light / "python", app, provider.chat_url, *bodies],
            env={**clean, "OTEL_EXPORTER_OTLP_ENDPOINT": sink.endpoint},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        spans = [span for span in sink.spans() if span.scope == "tokentrail.instrumentation"]

    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert json.loads(done.stdout) == []
    assert [span.attributes["gen_ai.usage.output_tokens"] for span in spans] == [4, 4]
