"""Who is let in, on what grounds, and what the upstream is told."""

import base64
import hashlib
import hmac
import json
import os
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from agent.hooks import Answer, RequestChanges
from agent.proxy.plugin_load import PluginError
from plugins.auth import Auth
from tests.unit.plugins.support import Recorder, made, view

SECRET = "0123456789abcdef0123456789abcdef"
NOW = 1_700_000_000.0
KEYS = {"api_keys": {"keys": {"shop": "shop-key-0123456789", "till": "till-key-0123456789"}, "identity_header": "X-Caller"}}
HS = {"algorithms": ["HS256"], "secret": SECRET, "leeway": "5s"}


@pytest.fixture(scope="module")
def rsa_keys() -> list[rsa.RSAPrivateKey]:
    return [rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2)]


def auth(config: dict[str, Any]) -> Auth:
    plugin: Auth = made("auth", config)
    if plugin.checker is not None:
        plugin.checker.now = lambda: NOW
    return plugin


def token(claims: dict[str, Any] | None = None, key: Any = SECRET, algorithm: str = "HS256", **headers: Any) -> str:
    return jwt.encode({"sub": "ann", "exp": NOW + 60, **(claims or {})}, key, algorithm, headers)


def bearer(text: str) -> str:
    return f"Authorization: Bearer {text}"


def refused(result: object) -> tuple[int, str]:
    assert isinstance(result, Answer), result
    assert result.headers["Cache-Control"] == "no-store"
    assert json.loads(result.body)["status"] == result.status
    return result.status, result.headers["WWW-Authenticate"]


def admitted(result: object) -> RequestChanges:
    assert isinstance(result, RequestChanges), result
    return result


def test_a_key_names_its_holder_and_no_key_or_another_is_refused() -> None:
    plugin = auth(KEYS)
    assert admitted(plugin.on_request(view("/", "X-Api-Key: till-key-0123456789"))).set_headers == {"X-Caller": "till"}
    assert refused(plugin.on_request(view("/"))) == (401, 'ApiKey realm="pilotfish"')
    for wrong in ("", "till-key-012345678", "till-key-01234567890", "TILL-KEY-0123456789", "\xff"):
        assert refused(plugin.on_request(view("/", f"X-Api-Key: {wrong}")))[0] == 401
    assert refused(plugin.on_request(view("/", "X-Api-Key: till-key-0123456789", "X-Api-Key: shop-key-0123456789")))[0] == 401


def test_a_key_is_found_in_the_query_and_in_a_cookie() -> None:
    plugin = auth({"api_keys": {**KEYS["api_keys"], "query": "key", "cookie": "key"}})
    assert admitted(plugin.on_request(view("/?a=b&key=shop%2Dkey-0123456789"))).set_headers == {"X-Caller": "shop"}
    assert admitted(plugin.on_request(view("/", "Cookie: a=b; key=shop-key-0123456789"))).set_headers == {"X-Caller": "shop"}
    assert refused(plugin.on_request(view("/?nokey=shop-key-0123456789")))[0] == 401


def test_keys_may_be_digests_and_come_from_a_file_that_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("# who\nann:first-key-01234567\n")
    digest = hashlib.sha256(b"hashed-key-01234567").hexdigest()
    plugin = auth({"api_keys": {"file": str(file), "keys": {"bob": f"sha256:{digest}"}, "identity_header": "X-Caller"}})
    recorder = Recorder()
    plugin.start(recorder)
    assert admitted(plugin.on_request(view("/", "X-Api-Key: hashed-key-01234567"))).set_headers == {"X-Caller": "bob"}
    file.write_text("ann:second-key-012345678\n")
    plugin.on_tick(1.0)
    assert refused(plugin.on_request(view("/", "X-Api-Key: first-key-01234567")))[0] == 401
    assert admitted(plugin.on_request(view("/", "X-Api-Key: second-key-012345678"))).set_headers == {"X-Caller": "ann"}
    file.write_text("ann:\n")
    plugin.on_tick(2.0)
    assert [event for event, _ in recorder.events] == ["keys read again", "keys not read again"]
    assert admitted(plugin.on_request(view("/", "X-Api-Key: second-key-012345678")))


def test_keys_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = auth(KEYS)
    compared: list[tuple[int, int]] = []
    real = hmac.compare_digest

    def spy(a: bytes, b: bytes) -> bool:
        compared.append((len(a), len(b)))
        return real(a, b)

    monkeypatch.setattr("plugins.auth.keys.hmac.compare_digest", spy)
    for key in ("shop-key-0123456789", "wrong", "shop-key-012345678x"):
        plugin.on_request(view("/", f"X-Api-Key: {key}"))
    assert compared == [(32, 32)] * 3


def test_identity_headers_of_the_client_never_get_through() -> None:
    plugin = auth({**KEYS, "exempt": [{"paths": ["/free"]}], "optional": True})
    forged = ("X-Caller: root", "x_caller: root", "X_CALLER: root")
    for request in (view("/free", *forged), view("/", *forged)):
        changes = admitted(plugin.on_request(request))
        assert set(changes.remove_headers) == {"x-caller", "x_caller"} and not changes.set_headers
    changes = admitted(plugin.on_request(view("/", *forged, "X-Api-Key: shop-key-0123456789")))
    assert changes.set_headers == {"X-Caller": "shop"} and "x_caller" in changes.remove_headers


def test_a_token_is_verified_and_its_claims_go_to_headers() -> None:
    claims = {"sub": "X-User", "roles": "X-Roles", "org.name": "X-Org", "n": "X-N", "gone": "X-Gone", "who": "X-Who"}
    plugin = auth({"jwt": {**HS, "claims_to_headers": claims}})
    shown = token({"roles": ["a", "b"], "org": {"name": "Sea"}, "n": 3, "who": "Zoë\r\nX-Evil: 1"})
    headers = admitted(plugin.on_request(view("/", bearer(shown)))).set_headers
    assert headers == {"X-User": "ann", "X-Roles": "a,b", "X-Org": "Sea", "X-N": "3", "X-Who": "Zo%C3%AB%0D%0AX-Evil:%201"}


@pytest.mark.parametrize(
    ("shown", "why"),
    [
        (token({"exp": NOW - 6}), "expired"),
        (token({"nbf": NOW + 6}), "not valid yet"),
        (token(key="another secret of thirty-two octets"), "signature"),
        (token(algorithm="HS512", key=SECRET * 2), "algorithm"),
        (jwt.encode({"sub": "ann"}, SECRET), "no exp"),
        (jwt.encode({"exp": NOW + 60}, SECRET), "no sub"),
        (jwt.encode({"sub": "ann", "exp": "soon"}, SECRET), ""),
        ("a.b.c", "not a JWT"),
        ("", "not a JWT"),
        ("x" * 9000, "too long"),
        (".".join([base64.urlsafe_b64encode(b'{"alg":"none"}').decode().strip("="), "e30", ""]), "algorithm"),
    ],
)
def test_a_token_that_does_not_hold_is_refused(shown: str, why: str) -> None:
    status, challenge = refused(auth({"jwt": HS}).on_request(view("/", bearer(shown))))
    assert status == 401 and 'error="invalid_token"' in challenge and why in challenge


def test_leeway_and_a_remembered_token_that_expires() -> None:
    plugin = auth({"jwt": HS})
    shown = token({"exp": NOW - 4})
    assert admitted(plugin.on_request(view("/", bearer(shown))))
    assert plugin.checker is not None
    plugin.checker.now = lambda: NOW + 1
    assert "expired" in refused(plugin.on_request(view("/", bearer(shown))))[1]


def test_audience_and_issuer() -> None:
    plugin = auth({"jwt": {**HS, "audience": ["shop", "till"], "issuer": ["https://id.test"]}})
    good = {"aud": ["x", "till"], "iss": "https://id.test"}
    assert admitted(plugin.on_request(view("/", bearer(token(good)))))
    assert "audience" in refused(plugin.on_request(view("/", bearer(token({**good, "aud": "x"})))))[1]
    assert "issuer" in refused(plugin.on_request(view("/", bearer(token({**good, "iss": "https://evil.test"})))))[1]
    assert "aud" in refused(plugin.on_request(view("/", bearer(token({"iss": "https://id.test"})))))[1]


def test_rs256_with_a_public_key_and_no_confusion_of_algorithms(rsa_keys: list[rsa.RSAPrivateKey], tmp_path: Path) -> None:
    pem = rsa_keys[0].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    file = tmp_path / "key.pem"
    file.write_bytes(pem)
    plugin = auth({"jwt": {"algorithms": ["RS256", "HS256"], "public_key_file": str(file), "secret": SECRET}})
    assert admitted(plugin.on_request(view("/", bearer(token(key=rsa_keys[0], algorithm="RS256")))))
    assert "signature" in refused(plugin.on_request(view("/", bearer(token(key=rsa_keys[1], algorithm="RS256")))))[1]
    head, body = (
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in ({"alg": "HS256"}, {"sub": "a", "exp": NOW + 60})
    )
    seal = base64.urlsafe_b64encode(hmac.digest(pem, head + b"." + body, "sha256")).rstrip(b"=")
    forged = b".".join([head, body, seal]).decode()
    assert "signature" in refused(plugin.on_request(view("/", bearer(forged))))[1]


def test_a_key_set_chooses_by_kid_and_rotates(rsa_keys: list[rsa.RSAPrivateKey], tmp_path: Path) -> None:
    def write(*entries: tuple[str, rsa.RSAPrivateKey]) -> None:
        keys = [
            {**jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": kid, "use": "sig", "alg": "RS256"}
            for kid, key in entries
        ]
        fresh = tmp_path / "fresh"
        fresh.write_text(json.dumps({"keys": keys}))
        os.replace(fresh, tmp_path / "jwks.json")

    write(("one", rsa_keys[0]))
    plugin = auth({"jwt": {"algorithms": ["RS256"], "jwks_file": str(tmp_path / "jwks.json")}})
    first, second = (token(key=key, algorithm="RS256", kid=kid) for kid, key in zip(("one", "two"), rsa_keys, strict=True))
    assert admitted(plugin.on_request(view("/", bearer(first))))
    assert "key is not known" in refused(plugin.on_request(view("/", bearer(second))))[1]
    assert "signature" in refused(plugin.on_request(view("/", bearer(token(key=rsa_keys[1], algorithm="RS256", kid="one")))))[1]
    write(("one", rsa_keys[0]), ("two", rsa_keys[1]))
    plugin.on_tick(1.0)
    assert admitted(plugin.on_request(view("/", bearer(second))))
    write(("two", rsa_keys[1]))
    plugin.on_tick(2.0)
    assert refused(plugin.on_request(view("/", bearer(first))))[0] == 401  # withdrawn, although it was remembered


def test_rules_say_403_and_see_through_the_spelling_of_a_path() -> None:
    rules = [{"match": {"paths": ["/admin*"]}, "claims": {"roles": ["boss"]}}, {"match": {"methods": ["DELETE"]}, "identities": ["ann"]}]
    plugin = auth({"jwt": HS, "rules": rules})
    plain, boss = token(), token({"roles": ["boss"], "sub": "bob"})
    assert admitted(plugin.on_request(view("/", bearer(plain))))
    for path in ("/admin", "/admin/x", "//admin", "/x/../admin", "/%61dmin", "/./admin/"):
        status, challenge = refused(plugin.on_request(view(path, bearer(plain))))
        assert status == 403 and 'error="insufficient_scope"' in challenge
        assert admitted(plugin.on_request(view(path, bearer(boss))))
    assert refused(plugin.on_request(view("/", bearer(boss), method="DELETE")))[0] == 403
    assert admitted(plugin.on_request(view("/", bearer(plain), method="DELETE")))


def test_scope_claims_are_split_at_spaces() -> None:
    plugin = auth({"jwt": HS, "rules": [{"claims": {"scope": ["read", "write"]}}]})
    assert admitted(plugin.on_request(view("/", bearer(token({"scope": "openid read"})))))
    assert refused(plugin.on_request(view("/", bearer(token({"scope": "openid readonly"})))))[0] == 403


@pytest.mark.parametrize("path", ["/free/../secret", "/free/%2e%2e/secret", "/free//x", "/free/%2Fsecret", "/free\\..\\secret"])
def test_an_exempt_path_is_not_a_way_around(path: str) -> None:
    plugin = auth({**KEYS, "exempt": [{"paths": ["/free/*"]}]})
    assert plugin.on_request(view("/free/x")) is None
    if "\\" in path:
        path = path.replace("\\", "%5C")
    assert refused(plugin.on_request(view(path)))[0] == 401


def test_cache_keys_keep_callers_apart_and_survive_a_renewed_token() -> None:
    plugin = auth({**KEYS, "jwt": HS})

    def key(*lines: str) -> str:
        return admitted(plugin.on_request(view("/", *lines))).cache_key

    ann = key(bearer(token()))
    assert ann == key(bearer(token({"exp": NOW + 90, "iat": NOW, "jti": "2"})))
    others = [key(bearer(token({"sub": "bob"}))), key(bearer(token({"role": "boss"}))), key("X-Api-Key: shop-key-0123456789")]
    assert len({ann, *others, ""}) == 5
    shared = auth({**KEYS, "cache": "shared"})
    assert admitted(shared.on_request(view("/", "X-Api-Key: shop-key-0123456789"))).cache_key == ""


def test_credentials_can_be_kept_from_the_upstream() -> None:
    config = {"jwt": {**HS, "cookie": "session"}, "strip_credentials": True}
    changes = admitted(auth(config).on_request(view("/", f"Cookie: a=b; session={token()}", "Cookie: c=d")))
    assert changes.set_headers == {"Cookie": "a=b; c=d"} and "Authorization" in changes.remove_headers
    changes = admitted(auth(config).on_request(view("/", f"Cookie: session={token()}")))
    assert set(changes.remove_headers) == {"Authorization", "Cookie"}


def test_services_and_optional() -> None:
    plugin = auth({**KEYS, "services": ["web"], "optional": True, "rules": [{"match": {"methods": ["POST"]}, "identities": ["shop"]}]})
    assert plugin.on_request(view("/", service="other")) is None
    assert admitted(plugin.on_request(view("/"))).cache_key == "anonymous"
    assert refused(plugin.on_request(view("/", method="POST")))[0] == 401
    assert refused(plugin.on_request(view("/", "X-Api-Key: wrong")))[0] == 401


@pytest.mark.parametrize(
    ("config", "path", "message"),
    [
        ({}, "plugins[0].config", "neither api_keys nor jwt"),
        ({"api_keys": {}}, "plugins[0].config.api_keys", "no keys"),
        ({"api_keys": {"keys": {"a": "short"}}}, "plugins[0].config.api_keys.keys.a", "at least 16"),
        ({"api_keys": {"keys": {"a": "sha256:12"}}}, "plugins[0].config.api_keys.keys.a", "64 hexadecimal"),
        ({"api_keys": {"file": "/nowhere/at/all"}}, "plugins[0].config.api_keys.file", "cannot be read"),
        ({"jwt": {"algorithms": ["none"]}}, "plugins[0].config.jwt.algorithms[0]", "Invalid enum value 'none'"),
        ({"jwt": {"algorithms": ["RS256"], "secret": SECRET}}, "plugins[0].config.jwt.algorithms", "no key for it"),
        ({"jwt": {"algorithms": ["HS256"], "secret": "short"}}, "plugins[0].config.jwt.secret", "at least 32"),
        ({"jwt": {**HS, "leeway": "soon"}}, "plugins[0].config.jwt.leeway", "Expected `float`"),
        ({"jwt": {**HS, "claims_to_headers": {"sub": "Host"}}}, "plugins[0].config.jwt.claims_to_headers.sub", "free to set"),
        ({"jwt": {**HS, "typo": 1}}, "plugins[0].config.jwt", "unknown field `typo`"),
    ],
)
def test_a_wrong_configuration_is_named_by_its_path(config: dict[str, Any], path: str, message: str) -> None:
    with pytest.raises(PluginError) as caught:
        auth(config)
    assert caught.value.path == path and message in caught.value.message
