"""Commands on policy, and what those who were not let in are told."""

from __future__ import annotations

from typing import Any

from typer.testing import CliRunner

from memos_ray.cli.exits import ExitCode
from memos_ray.cli.main import app
from memos_ray.testing.http_door import HttpDoor


def test_a_key_lets_in_until_it_is_revoked(call: Any, memory: str) -> None:
    call("principal", "create", "agent:planner")
    issued = call("key", "create", "agent:planner", "--scope=read")
    assert call("whoami", key=issued["secret"])["principal"] == "agent:planner"
    call("get", memory, key=issued["secret"], code=ExitCode.NOT_FOUND)
    call("share", memory, "--reader=agent:planner")
    assert call("get", memory, key=issued["secret"])["id"] == memory
    call("update", memory, "x", key=issued["secret"], code=ExitCode.REFUSED)
    call("key", "revoke", issued["id"])
    call("get", memory, key=issued["secret"], code=ExitCode.REFUSED)


def test_health_needs_no_key(door: HttpDoor) -> None:
    result = CliRunner().invoke(app, ["status", "--url", door.url])
    assert result.exit_code == ExitCode.DONE
    assert "shard-0" in result.stdout
    result = CliRunner().invoke(app, ["whoami", "--url", door.url])
    assert result.exit_code == ExitCode.REFUSED


def test_secrets_are_shown_once(run: Any, call: Any) -> None:
    call("principal", "create", "user:ana")
    issued = call("key", "create", "user:ana", "--expires-at=2099-01-01")
    listed = call("key", "list")
    assert issued["id"] in [key["id"] for key in listed["keys"]]
    assert issued["secret"] not in str(listed)
    assert issued["secret"] not in run("key", "list").stdout
    shown = run("key", "create", "user:ana").stdout
    (secret,) = [word for word in shown.split() if word.startswith("mk_")]
    assert call("whoami", key=secret)["principal"] == "user:ana", "all of it is shown"


def test_a_key_is_rotated_and_ends_at_its_moment(call: Any) -> None:
    call("principal", "create", "user:bea")
    old = call("key", "create", "user:bea")
    new = call("key", "rotate", old["id"])
    call("whoami", key=old["secret"], code=ExitCode.REFUSED)
    call("whoami", key=new["secret"])
    call("key", "expire", new["id"], "--at=2020-01-01")
    problem = call("whoami", key=new["secret"], code=ExitCode.REFUSED)
    assert problem["code"] == "credential_expired"


def test_a_grant_opens_a_namespace(call: Any) -> None:
    call("namespace", "create", "team", "--visibility=shared")
    call("principal", "create", "user:cas")
    key = call("key", "create", "user:cas")["secret"]
    call("add", "no", "-n", "team", key=key, code=ExitCode.NOT_FOUND)
    grant = call("grant", "create", "user:cas", "create", "read", "-n", "team")
    assert call("add", "yes", "-n", "team", key=key)["version"] == 1
    assert grant["id"] in [one["id"] for one in call("grant", "list")["grants"]]
    call("grant", "revoke", grant["id"])
    call("add", "again", "-n", "team", key=key, code=ExitCode.NOT_FOUND)


def test_a_namespace_in_a_home_is_private_and_its_principals(call: Any) -> None:
    call("namespace", "create", "user:ana/notes")
    call("namespace", "create", "crew")
    made = {one["name"]: one for one in call("namespace", "list")["namespaces"]}
    assert made["user:ana/notes"]["kind"] == "user_private"
    assert made["user:ana/notes"]["owner"] == "user:ana"
    assert made["crew"]["kind"] == "contextual_pool"
    assert made["crew"]["owner"] == "user:admin"


def test_lists_show_what_there_is(run: Any, call: Any) -> None:
    call("principal", "create", "service:sync", "--disabled")
    call("namespace", "create", "pool", "--member=user:ana")
    assert "service:sync" in run("principal", "list").stdout
    assert "pool" in run("namespace", "list").stdout
    assert "user:admin" in run("whoami").stdout
    assert "pool" in [one["name"] for one in call("namespace", "list")["namespaces"]]
    usage = {"namespace": "pool", "memories": 0, "text_bytes": 0, "quota_bytes": None}
    assert call("namespace", "usage", "pool") == usage
    assert "text_bytes" in run("namespace", "usage").stdout
    assert "grants" in call("grant", "list", "-n", "pool")


def test_tenants_are_made_and_disabled_by_who_may(call: Any) -> None:
    made = call("tenant", "create", "acme")
    assert call("whoami", key=made["secret"])["tenant"] == "acme"
    call("tenant", "create", "other", key=made["secret"], code=ExitCode.REFUSED)
    call("tenant", "disable", "acme")
    call("whoami", key=made["secret"], code=ExitCode.REFUSED)
    call("tenant", "enable", "acme")
    call("whoami", key=made["secret"])
