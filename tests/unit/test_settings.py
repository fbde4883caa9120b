"""Wrong settings are refused by name, wherever they come from, and never quoted."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest

from memos_ray import MemOS, Settings
from memos_ray.actors.parameter.paraphrasing import ParaphrasingTrainer
from memos_ray.cluster import assembly
from memos_ray.cluster.keyring import Keyring
from memos_ray.config import AdapterPromotion, EmbedderSettings, env_name
from memos_ray.core.access import keys
from memos_ray.errors import ConfigurationError, InvalidInputError
from memos_ray.serving import deployment

_SECRET = "hunter2"


@pytest.fixture(autouse=True)
def _no_settings_around(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("MEMOS_")]:
        monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("MEMOS_VAULT__SHARDS", "0"),
        ("MEMOS_VAULT__SHARDS", "many"),
        ("MEMOS_VAULT__PARTITIONS", "65537"),
        ("MEMOS_VAULT__SHRADS", "1"),
        ("MEMOS_VAULT__USAGE_FLUSH_S", "inf"),
        ("MEMOS_VAULT__REPLY_TTL_S", "-1"),
        ("MEMOS_EMBEDDER__KIND", "word2vec"),
        ("MEMOS_EMBEDDER__DIM", "0"),
        ("MEMOS_EMBEDDER__BASE_URL", "ftp://host"),
        ("MEMOS_EMBEDDER__FACTORY", "no factory"),
        ("MEMOS_VECTORS__ENABLED", "perhaps"),
        ("MEMOS_VECTORS__URI", "./milvus.db"),
        ("MEMOS_VECTORS__TIMEOUT_S", "0"),
        ("MEMOS_RECORDS__URL", f"mysql://me:{_SECRET}@host/db"),
        ("MEMOS_RECORDS__URL", _SECRET),
        ("MEMOS_BLOBS__URI", "https://bucket"),
        ("MEMOS_GOVERNANCE__LEASE_S", "nan"),
        ("MEMOS_GATEWAY__PORT", "65536"),
        ("MEMOS_GATEWAY__REPLICAS", "0"),
        ("MEMOS_CLIENT__URL", "localhost:8700"),
        ("MEMOS_CLIENT__ATTEMPTS", "0"),
        ("MEMOS_LIMITS__TEXT_BYTES", "0"),
        ("MEMOS_RETRIEVAL__ROLE_PRIOR", "perhaps"),
        ("MEMOS_CLUSTER_CPUS", "none"),
        ("MEMOS_OBJECT_STORE_BYTES", "1000"),
        ("MEMOS_NAMESPACE", ""),
    ],
)
def test_a_variable_of_the_environment_is_named(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError) as caught:
        Settings()
    field = variable.removeprefix("MEMOS_").lower().replace("__", ".")
    assert caught.value.details["fields"] == [field]
    assert caught.value.details["variables"] == [variable] == [env_name(*field.split("."))]
    assert field in caught.value.message
    assert _SECRET not in str(caught.value)


def _remote(**more: object) -> dict[str, object]:
    return {"name": "remote", "engine": "openai", "base_url": "https://host/v1", **more}


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"vault": {"shards": 20, "partitions": 16}}, "vault"),
        ({"embedder": {"kind": "openai", "model": "m"}}, "embedder"),
        ({"embedder": {"kind": "sentence-transformers"}}, "embedder"),
        ({"embedder": {"kind": "custom"}}, "embedder"),
        ({"limits": {"text_bytes": 2, "request_bytes": 1}}, "limits"),
        ({"models": [{"name": "m"}]}, "models.0"),
        ({"models": [{"name": "m", "engine": "custom", "path": "/m"}]}, "models.0"),
        ({"models": [{"name": "m", "engine": "openai", "path": "/m"}]}, "models.0"),
        ({"models": [_remote(base_url="host/v1")]}, "models.0.base_url"),
        ({"models": [_remote(base_url=f"https://me:{_SECRET}@host/v1")]}, "models.0.base_url"),
        ({"models": [_remote(base_url=f"https://host/v1?key={_SECRET}")]}, "models.0.base_url"),
        ({"models": [_remote(remote_name="")]}, "models.0.remote_name"),
        ({"models": [_remote(silence_s=0)]}, "models.0.silence_s"),
        ({"models": [_remote(limit_field="tokens")]}, "models.0.limit_field"),
        ({"promotion": {"adapters_enter": 1.0}}, "promotion"),
        ({"teaching": {"paraphraser": "absent"}, "models": [_remote()]}, "settings"),
    ],
)
def test_settings_that_contradict_each_other(given: dict[str, object], field: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Settings(**given)  # type: ignore[arg-type]
    assert caught.value.details["fields"] == [field]
    assert _SECRET not in str(caught.value)


def test_several_faults_are_all_named() -> None:
    with pytest.raises(ConfigurationError) as caught:
        Settings(gateway={"port": -1}, vault={"shards": 0}, colour="blue")  # type: ignore[arg-type,call-arg]
    fields = caught.value.details["fields"]
    assert isinstance(fields, list) and set(fields) == {"gateway.port", "vault.shards", "colour"}


def test_a_section_that_is_no_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMOS_VAULT", "{")
    with pytest.raises(ConfigurationError, match="vault"):
        Settings()


def test_the_environment_and_arguments_are_both_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMOS_GATEWAY__PORT", "9000")
    monkeypatch.setenv("MEMOS_VAULT__SHARDS", "2")
    settings = Settings(data=Path("elsewhere"), gateway={"port": 9001})  # type: ignore[arg-type]
    assert (settings.gateway.port, settings.vault.shards) == (9001, 2)
    assert settings.data == Path("elsewhere")


def test_secrets_do_not_show() -> None:
    url = f"postgresql+psycopg://me:{_SECRET}@host/db"
    models = [_remote(api_key=_SECRET)]
    settings = Settings(records={"url": url}, client={"api_key": _SECRET}, models=models)  # type: ignore[arg-type]
    assert _SECRET not in repr(settings) and _SECRET not in settings.model_dump_json()


def test_a_model_behind_an_endpoint_has_no_replicas() -> None:
    models = [_remote(), {"name": "own", "path": "/models/own"}]
    settings = Settings(models=models)  # type: ignore[arg-type]
    assert [model.name for model in settings.served_models] == ["own"]
    with pytest.raises(ConfigurationError, match="no replicas"):
        deployment.bind(settings.models[0])


def test_models_that_learn_by_what_is_used_and_who_words_their_lessons(tmp_path: Path) -> None:
    own = {"path": "/models/own"}
    models = [
        _remote(),
        {"name": "as all", "adapter_slots": 1, **own},
        {"name": "by itself", "adapter_slots": 1, "adapter_promotion": "automatic", **own},
        {"name": "by hand", "adapter_slots": 1, "adapter_promotion": "manual", **own},
        {"name": "never", **own},
    ]
    promotion = {"adapters": "propose", "adapters_conversations": 7}
    models = [{**model, "name": str(model["name"]).replace(" ", "-")} for model in models]  # type: ignore[dict-item, index]
    settings = Settings(data=tmp_path, models=models, promotion=promotion)  # type: ignore[arg-type]
    parts = assembly.kv_parts(settings)
    assert parts is not None
    found = {name: (one.automatic, one.conversations) for name, one in parts.learning.items()}
    assert found == {"as-all": (False, 7), "by-itself": (True, 7)}
    assert not isinstance(parts.trainer, ParaphrasingTrainer)
    assert Settings(models=models).promotion.adapters is AdapterPromotion.MANUAL  # type: ignore[arg-type]
    teaching = {"paraphraser": "remote"}
    worded = assembly.kv_parts(Settings(data=tmp_path, models=models, teaching=teaching))  # type: ignore[arg-type]
    assert worded is not None and isinstance(worded.trainer, ParaphrasingTrainer)
    assert set(worded.trainer.models) == {"as-all", "by-itself", "by-hand"}


def test_READ_2_the_model_that_completes_questions_is_one_of_the_models(tmp_path: Path) -> None:
    chosen = {"data": tmp_path, "models": [_remote()]}
    models = assembly.models(Settings(**chosen))  # type: ignore[arg-type]
    assert assembly.completer(Settings(**chosen), models) is None  # type: ignore[arg-type]
    settings = Settings(**chosen, dialogue={"model": "remote"})  # type: ignore[arg-type]
    completer = assembly.completer(settings, models)
    assert completer is not None and completer.name == "remote"
    with pytest.raises(ConfigurationError, match=r"dialogue\.model is none of the models"):
        Settings(**chosen, dialogue={"model": "walrus"})  # type: ignore[arg-type]


def test_the_client_reports_bad_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMOS_GATEWAY__PORT", "many")
    with pytest.raises(ConfigurationError, match=r"gateway\.port"):
        MemOS(url="http://127.0.0.1:1", api_key="k")


@pytest.mark.parametrize("url", ["", "host", "ftp://host", "http://"])
def test_an_url_that_is_none(url: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        MemOS(url=url, api_key="k", settings=Settings())
    assert caught.value.details["field"] == "url"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("signing_key", "not base64!"),
        ("signing_key", base64.b64encode(b"too short").decode()),
        ("admin_key", _SECRET),
        ("admin_key", keys.mint("elsewhere", bytes(42)).secret),
        ("default_tenant", "No Tenant"),
    ],
)
def test_keys_that_nobody_can_use(tmp_path: Path, field: str, value: str) -> None:
    settings = Settings(data=tmp_path, governance={field: value})  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError) as caught:
        Keyring(settings).ensure()
    assert caught.value.details == {"field": f"governance.{field}"}
    assert value not in str(caught.value)


@pytest.mark.parametrize("factory", ["no_such_module:make", "memos_ray.testing.embedders:none"])
def test_a_factory_that_is_not_there(factory: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        assembly.embedder(EmbedderSettings(kind="custom", factory=factory))  # type: ignore[arg-type]
    assert caught.value.details["field"] == "embedder.factory"


def test_a_data_folder_that_is_a_file(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(ConfigurationError) as caught:
        MemOS(data=file, settings=Settings())
    assert caught.value.details["path"] == str(file)
    assert file.read_text() == "mine"


def test_workers_that_share_a_training_have_whole_gpus() -> None:
    for gpus in (0, 0.5, 1.5):
        with pytest.raises(ConfigurationError, match="whole GPUs"):
            Settings.model_validate({"teaching": {"workers": 2, "device": "cuda", "gpus": gpus}})
    shared = Settings.model_validate({"teaching": {"workers": 2, "device": "cuda", "gpus": 1}})
    assert shared.teaching.workers == 2
    assert Settings.model_validate({"teaching": {"workers": 2}}).teaching.gpus == 0
