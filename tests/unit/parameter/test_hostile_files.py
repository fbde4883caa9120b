"""Files from outside: whatever they say, they are read or refused, and nothing else happens."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memos_ray.core.parameter import read_tensors
from memos_ray.core.parameter.peft_format import check_peft, from_peft
from memos_ray.errors import InvalidInputError

NAME = "base_model.model.model.layers.0.mlp.up_proj.lora_A.weight"
CONFIG = orjson.dumps({"peft_type": "LORA", "r": 2, "lora_alpha": 4})


def file(header: bytes, body: bytes = b"") -> Any:
    # Tensors are aligned: that is not to be what is refused.
    header += b" " * (-len(header) % 8)
    return np.frombuffer(len(header).to_bytes(8, "little") + header + body, np.uint8)


def tensor(**changes: Any) -> bytes:
    about = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16], **changes}
    return orjson.dumps({NAME: about})


@pytest.mark.parametrize(
    "header",
    [
        # Their product is nothing, in 64 bits.
        tensor(shape=[2**32, 2**32], data_offsets=[0, 0]),
        tensor(shape=[2**33, 2**31, 4], data_offsets=[0, 0]),
        b'{"%b": {"dtype": "F32", "shape": [%b], "data_offsets": [0, 16]}}'
        % (NAME.encode(), b"9" * 40),
        b'{"%b": {"dtype": "F32", "shape": [1e999], "data_offsets": [0, 16]}}' % NAME.encode(),
        tensor(shape=[-2, -2]),
        tensor(shape=[0, 2]),
        tensor(shape=[2.5, 2]),
        tensor(shape=["2", "2"]),
        tensor(shape=[True, 4]),
        tensor(shape="22"),
        tensor(shape=None),
        tensor(shape={"2": 2}),
        tensor(data_offsets=[0, 2**63]),
        tensor(data_offsets=[-16, 0]),
        tensor(data_offsets=[0.0, 16.0]),
        tensor(data_offsets=[0]),
        tensor(data_offsets="ab"),
        tensor(dtype="F64"),
        tensor(dtype=["F32"]),
        b"[]",
        b"null",
        b'{"a": 1}',
        b"{" * 100_000,
        b'{"__metadata__": []}',
    ],
)
def test_hostile_headers_are_refused(header: bytes) -> None:
    for body in (b"", b"\0" * 16):
        data = file(header, body)
        with pytest.raises(InvalidInputError):
            read_tensors(data)
        with pytest.raises(InvalidInputError):
            from_peft(CONFIG, data, base="base")


def test_a_whole_one_is_none_of_them() -> None:
    data = file(tensor(), b"\0" * 16)
    assert len(read_tensors(data)) == 1
    assert check_peft(CONFIG, data) == (2, 4.0)


@pytest.mark.parametrize(
    "config",
    [
        b'{"peft_type": "LORA", "r": 1e999, "lora_alpha": 4}',
        b'{"peft_type": "LORA", "r": %b, "lora_alpha": 4}' % (b"9" * 400),
        b'{"peft_type": "LORA", "r": 2, "lora_alpha": 1e999}',
        b'{"peft_type": "LORA", "r": 2, "lora_alpha": "nan"}',
        b'{"peft_type": "LORA", "r": true, "lora_alpha": 4}',
        b'{"peft_type": "LORA", "r": 2.5, "lora_alpha": 4}',
        b'{"peft_type": "LORA", "r": 0, "lora_alpha": 4}',
        b'["peft_type"]',
        b"\xff",
    ],
)
def test_hostile_configurations_are_refused(config: bytes) -> None:
    with pytest.raises(InvalidInputError):
        check_peft(config, file(tensor(), b"\0" * 16))


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.sampled_from(["F32", "BF16", "", NAME])
)
values = scalars | st.lists(scalars, max_size=3)


@given(
    header=st.dictionaries(
        st.sampled_from([NAME, "__metadata__", ""]),
        st.fixed_dictionaries({"dtype": values, "shape": values, "data_offsets": values})
        | values
        | st.fixed_dictionaries(
            {
                "dtype": st.sampled_from(["F32", "F16"]),
                "shape": st.lists(st.integers(-1, 2**40), max_size=3),
                "data_offsets": st.lists(st.integers(-4, 40), min_size=2, max_size=2),
            }
        ),
    ),
    body=st.binary(max_size=40),
)
def test_any_header_is_read_or_refused(header: dict[str, Any], body: bytes) -> None:
    try:
        encoded = orjson.dumps(header)
    except TypeError:
        # Integers beyond 64 bits.
        encoded = str(header).replace("'", '"').encode()
    try:
        found = read_tensors(file(encoded, body))
    except InvalidInputError:
        return
    assert sum(each.nbytes for _, each in found) == len(body)


@given(st.binary(max_size=64))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with pytest.raises(InvalidInputError):
        from_peft(CONFIG, np.frombuffer(data, np.uint8), base="base")
