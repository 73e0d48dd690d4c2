"""Input files of every kind, mutated: a reader takes one, or says in a sentence what is wrong and what to do."""

from __future__ import annotations

import http.server
import importlib.util
import random
import sys
import threading
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rejoinder.contract import load_dialect
from rejoinder.errors import ContractError
from rejoinder.validation import Validator

HERE = Path(__file__).parent
EXAMPLES = {"profile": 60, "dialect": 40, "run": 20, "extension": 40, "extension rules": 40, "extension features": 40}
"""Mutations of a kind of file that CI tries, if not 100; these take longer."""


def _module() -> ModuleType:
    name = "tests.fuzz.input_files"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, HERE / "input_files.py")
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


FUZZ = _module()
CORPUS = sorted((HERE / "corpus").iterdir())


@pytest.mark.parametrize("name", FUZZ.KINDS)
def test_examples_are_taken(name: str, tmp_path: Path) -> None:
    kind = FUZZ.KINDS[name]
    examples = kind.seeds()
    assert examples
    if name == "profile":
        for shipped in (HERE.parents[1] / "load" / "workload" / "shipped").glob("*.ndjson"):
            (tmp_path / shipped.name).write_bytes(shipped.read_bytes())
    (tmp_path / kind.file).parent.mkdir(exist_ok=True)
    for example in examples:
        (tmp_path / kind.file).write_bytes(example)
        kind.read(tmp_path / kind.file)


@pytest.mark.slow(6)
@pytest.mark.parametrize("name", FUZZ.KINDS)
def test_mutations_are_taken_or_explained(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    kind, folder = FUZZ.KINDS[name], tmp_path_factory.mktemp(name)
    examples = kind.seeds()

    @settings(
        max_examples=EXAMPLES.get(name, 100),
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )
    @given(seed=st.integers(0, 2**63), example=st.sampled_from(examples))
    def tried(seed: int, example: bytes) -> None:
        data = FUZZ.mutated(example, random.Random(seed), name)
        problem = FUZZ.verdict(kind, data, folder)
        assert not problem, f"{data[:2000]!r}\n{problem}"

    tried()


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.name)
def test_what_was_found_once_is_explained(path: Path, tmp_path: Path) -> None:
    kind = FUZZ.KINDS[path.name.partition("-")[0]]
    assert FUZZ.verdict(kind, path.read_bytes(), tmp_path) == ""


def test_what_is_unclear_or_crashes_is_found(tmp_path: Path) -> None:
    def crash(path: Path) -> None:
        raise RecursionError

    def unclear(path: Path) -> None:
        raise ContractError("Something is wrong.", "Do something.")

    def helpless(path: Path) -> None:
        raise ContractError(f"{path} is wrong.")

    def endless(path: Path) -> None:
        raise ContractError(f"{path} is {'x' * 3000}.", "Do something.")

    for read, expected in ((crash, "RecursionError"), (unclear, "name"), (helpless, "do"), (endless, "no sentence")):
        assert expected in FUZZ.verdict(FUZZ.Kind("some.toml", list, read), b"", tmp_path)
    assert FUZZ.verdict(FUZZ.Kind("some.toml", list, Path.read_bytes), b"", tmp_path) == ""


def test_a_schema_of_a_file_fetches_nothing(tmp_path: Path) -> None:
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        address = f"http://127.0.0.1:{server.server_port}/schema.json"
        try:
            for reference in (address, (tmp_path / "secret.json").as_uri()):
                (tmp_path / "secret.json").write_text("{}", "utf-8")
                file = tmp_path / "own.toml"
                for keyword, message in (("$ref", "not a reference"), ("$dynamicRef", "not supported")):
                    overlay = f'add."/properties/route" = {{ "{keyword}" = "{reference}" }}'
                    file.write_text(f'name = "own"\n[overlay.request]\n{overlay}\n', "utf-8")
                    with pytest.raises(ContractError, match=message):
                        load_dialect(file)
                with pytest.raises(ValueError, match="outside of the schema"):
                    Validator({"$ref": reference})
        finally:
            server.shutdown()
            thread.join()
    assert asked == []
