"""Types that the fields of settings have in common."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

_HTTP = re.compile(r"https?://[^\s/?#]+[^\s]*")
_ENDPOINT = re.compile(r"https?://[^\s/?#@]+(?:/[^\s?#]*)?")
_MILVUS = re.compile(r"(?:https?|tcp)://[^\s/?#]+[^\s]*|unix:[^\s]+")
_BLOBS = re.compile(r"s3://[^\s/?#]+[^\s]*|file://(?:localhost)?/[^\s]*")
_POSTGRES = re.compile(r"postgresql(?:\+psycopg)?://\S+")
_FACTORY = re.compile(r"[\w.]+:\w+")


def _like(pattern: re.Pattern[str], example: str) -> AfterValidator:
    def check(value: Any) -> Any:
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        if not pattern.fullmatch(text):
            # Not quoted: a URL may carry a password.
            raise ValueError(f"must look like {example}")
        return value

    return AfterValidator(check)


Positive = Annotated[int, Field(gt=0)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
HttpUrl = Annotated[str, _like(_HTTP, "http://host:8700")]
EndpointUrl = Annotated[str, _like(_ENDPOINT, "https://host/v1, without a user or a query")]
MilvusUri = Annotated[str, _like(_MILVUS, "http://host:19530")]
BlobUri = Annotated[str, _like(_BLOBS, "s3://bucket/prefix")]
PostgresUrl = Annotated[SecretStr, _like(_POSTGRES, "postgresql+psycopg://user@host/database")]
Factory = Annotated[str, _like(_FACTORY, "package.module:callable")]


class Section(BaseModel):
    """A part of the settings: frozen, and an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")
