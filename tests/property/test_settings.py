"""Any text at all becomes settings or a `ConfigError`, and settings that were accepted can be put to work."""

import string
from typing import Any

import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agent.app.settings import ConfigError, Settings, parse, redacted
from agent.app.validate import endpoint_specs
from agent.app.yaml_walk import hints_of
from agent.core.routing.cluster import Cluster
from agent.core.routing.table import RouteTable


def keys_of(kind: Any, found: set[str]) -> set[str]:
    """Every key that the configuration knows, at any level."""
    for name, hint in hints_of(kind).items():
        if name not in found:
            found.add(name)
            pending = [hint]
            while pending:
                part = pending.pop()
                if isinstance(part, type) and hasattr(part, "__struct_fields__"):
                    keys_of(part, found)
                pending.extend(getattr(part, "__args__", ()))
    return found


KEYS = sorted(keys_of(Settings, set()))
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from(
        ["*", "*.a", "127.0.0.1:80", "[::1]:80", "unix:/a", "a.b:1", "10s", "1KiB", "20%", "(", "p2c_ewma", "header:X", "\x00"]
    ),
)
DOCUMENTS = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.one_of(st.sampled_from(KEYS), st.text(max_size=4)), inner, max_size=4)
    ),
    max_leaves=20,
)
NODES = st.recursive(
    st.text(string.printable, max_size=6),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]"),
        st.lists(st.tuples(st.sampled_from(KEYS), inner), max_size=3).map(
            lambda pairs: "{" + ", ".join(f"{key}: {value}" for key, value in pairs) + "}"
        ),
        inner.map(lambda item: f"&a {item}"),
        st.sampled_from(["*a", "!!int x", "!!float 1", "!!binary aa", "!x y", "!!null ''", "<<", "=", "'", '"', "|", ">"]),
    ),
)


def settled(text: str, environ: dict[str, str] | None = None) -> Settings | None:
    try:
        return parse(text, environ or {})
    except ConfigError as error:
        refused = error
    assert refused.problems
    assert all(problem.message and problem.line >= 0 for problem in refused.problems)
    assert str(refused).splitlines()
    return None


@given(DOCUMENTS)
def test_any_document_is_settings_or_a_config_error(document: Any) -> None:
    settled(yaml.safe_dump(document))


@given(NODES)
@settings(max_examples=300)
@example("&a [*a]")
@example("{plugins: [{name: x, config: &a {a: *a}}]}")
@example("{http: {head_bytes_max: " + "9" * 5000 + "}}")
def test_any_yaml_text_is_settings_or_a_config_error(text: str) -> None:
    settled(text)


@given(st.binary(max_size=60).map(lambda raw: raw.decode("latin-1")))
def test_any_text_is_settings_or_a_config_error(text: str) -> None:
    settled(text)


@given(st.dictionaries(st.sampled_from(["PILOTFISH_AGENT_ID", "PILOTFISH_LISTEN_EGRESS", "PILOTFISH_LOG_LEVEL", "PILOTFISH_X"]), st.text()))
def test_any_environment_is_settings_or_a_config_error(environ: dict[str, str]) -> None:
    settled("", environ)


PATTERNS = st.sampled_from(["*", "a", "*.a", "", "**", "é", "A.b", "a*", "*.", "a:80", "[::1]"])
TEXTS = st.sampled_from(["", "/", "/a", "(", "x", "é", "€", "a b", "~(", "~a", "*", "\r\n"])


@given(
    hosts=st.lists(PATTERNS, max_size=2),
    match=st.fixed_dictionaries(
        {}, optional={"path": TEXTS, "prefix": TEXTS, "regex": TEXTS, "hosts": st.lists(PATTERNS, max_size=1), "methods": st.lists(TEXTS)}
    ),
    headers=st.dictionaries(TEXTS, TEXTS, max_size=2),
    edits=st.fixed_dictionaries(
        {}, optional={"set": st.dictionaries(TEXTS, TEXTS), "add": st.dictionaries(TEXTS, TEXTS), "remove": st.lists(TEXTS)}
    ),
    rewrite=st.one_of(
        st.none(), st.fixed_dictionaries({}, optional={"prefix": TEXTS, "regex": TEXTS, "substitution": TEXTS, "host": TEXTS})
    ),
    hash_on=st.sampled_from(["", "path", "header:", "header:é", "cookie:a", "client"]),
    policy=st.sampled_from(["p2c_ewma", "maglev"]),
)
@settings(max_examples=400)
def test_what_is_accepted_can_be_put_to_work(
    hosts: list[str], match: Any, headers: Any, edits: Any, rewrite: Any, hash_on: str, policy: str
) -> None:
    route = {"match": {**match, "headers": headers}, "request_headers": edits, "rewrite": rewrite}
    service = {
        "hosts": hosts,
        "endpoints": ["127.0.0.1:80"],
        "routes": [route],
        "balance": {"policy": policy, "hash_on": hash_on},
        "response_headers": edits,
    }
    accepted = settled(yaml.safe_dump({"services": {"web": service}}))
    if accepted is not None:
        RouteTable(dict(accepted.services))
        cluster = Cluster("web", accepted.services["web"], "", 1)
        cluster.update(endpoint_specs(accepted.services["web"]), 0.0)
        redacted(accepted)
