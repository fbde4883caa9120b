"""API keys: format, typing errors, and what can be done with what is kept."""

from __future__ import annotations

import secrets
from hashlib import blake2b

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from memos_ray.core.access import keys
from memos_ray.errors import InvalidInputError, UnauthenticatedError

ENTROPY = bytes(range(42))
KEY = keys.mint("acme", ENTROPY)
PRINTABLE = st.characters(min_codepoint=33, max_codepoint=126)


def test_GOV_2_a_key_is_recognised_by_its_digest() -> None:
    proof = keys.parse(KEY.secret)
    assert (proof.tenant, proof.key_id) == ("acme", KEY.key_id)
    assert keys.matches(proof, KEY.digest)
    assert keys.proof_digest(proof) == KEY.digest


def test_GOV_2_equal_entropy_gives_an_equal_key_and_other_entropy_another() -> None:
    assert keys.mint("acme", ENTROPY) == KEY
    other = keys.mint("acme", ENTROPY[:-1] + b"\xff")
    assert other.key_id == KEY.key_id
    assert not keys.matches(keys.parse(other.secret), KEY.digest)


def test_GOV_2_a_digest_is_bound_to_its_tenant_and_id() -> None:
    assert keys.mint("globex", ENTROPY).digest != KEY.digest


def test_GOV_2_neither_the_digest_nor_the_proof_can_be_used_as_what_it_was_made_from() -> None:
    proof = keys.parse(KEY.secret)
    stolen = keys.KeyProof("acme", KEY.key_id, bytes.fromhex(KEY.digest))
    assert not keys.matches(stolen, KEY.digest)
    assert blake2b(proof.value, digest_size=32).hexdigest() != KEY.digest


def test_GOV_2_secrets_stay_out_of_representations_and_errors() -> None:
    body = KEY.secret.rsplit("_", 1)[1][:43]
    proof = keys.parse(KEY.secret)
    shown = f"{KEY!r} {KEY} {proof!r}"
    assert body not in shown
    assert repr(proof.value) not in shown
    with pytest.raises(UnauthenticatedError) as caught:
        keys.parse(KEY.secret[:-1] + ("0" if KEY.secret[-1] != "0" else "1"))
    assert body not in f"{caught.value} {caught.value!r} {caught.value.details}"


@pytest.mark.parametrize(
    ("tenant", "entropy"),
    [("Acme", ENTROPY), ("a_b", ENTROPY), ("", ENTROPY), ("a" * 64, ENTROPY), ("acme", b"short")],
)
def test_GOV_2_minting_refuses(tenant: str, entropy: bytes) -> None:
    with pytest.raises(InvalidInputError):
        keys.mint(tenant, entropy)


def reason(text: str) -> object:
    with pytest.raises(UnauthenticatedError) as caught:
        keys.parse(text)
    return caught.value.details["reason"]


@pytest.mark.parametrize(
    "text",
    ["", "mk_", "hello", KEY.secret[3:], "sk" + KEY.secret[2:], KEY.secret + "\n", " " + KEY.secret]
    + [KEY.secret.replace("acme", bad) for bad in ("ACME", "a_me", "-cme", "")]
    + [KEY.secret * 2, "mk_" + "a" * 10_000],
)
def test_GOV_2_other_texts_are_no_keys(text: str) -> None:
    assert reason(text) == "format"


@given(st.binary(min_size=42, max_size=42), st.from_regex(r"[a-z0-9]{1,9}", fullmatch=True))
def test_GOV_2_every_key_can_be_parsed(entropy: bytes, tenant: str) -> None:
    key = keys.mint(tenant, entropy)
    assert keys.matches(keys.parse(key.secret), key.digest)


@given(st.integers(0, len(KEY.secret) - 1), PRINTABLE)
@example(len(KEY.secret) - 9, "B")
def test_GOV_2_every_single_typing_error_is_noticed_without_a_look_up(
    place: int, letter: str
) -> None:
    typed = KEY.secret[:place] + letter + KEY.secret[place + 1 :]
    if typed != KEY.secret:
        assert reason(typed) in ("checksum", "format")


@given(st.integers(0, len(KEY.secret) - 2))
def test_GOV_2_swapped_neighbours_are_noticed(place: int) -> None:
    letters = list(KEY.secret)
    letters[place : place + 2] = letters[place + 1], letters[place]
    if "".join(letters) != KEY.secret:
        assert reason("".join(letters)) in ("checksum", "format")


@given(st.text(max_size=200) | st.builds(lambda t: "mk_acme_" + t, st.text(PRINTABLE)))
def test_GOV_2_any_text_is_a_key_or_refused(text: str) -> None:
    try:
        proof = keys.parse(text)
    except UnauthenticatedError:
        return
    assert not keys.matches(proof, KEY.digest)


def test_GOV_2_the_last_letter_of_a_secret_has_one_spelling() -> None:
    # 43 letters carry 258 bits for 256: without the checksum two spellings would be one secret.
    key = keys.mint("acme", secrets.token_bytes(42))
    body = key.secret[:-8]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    twin = body[:-1] + alphabet[alphabet.index(body[-1]) ^ 1] + key.secret[-8:]
    assert reason(twin) == "checksum"
