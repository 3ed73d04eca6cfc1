"""From a file's text and the environment to settings, or to everything that is wrong with them."""

import json
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from agent.app.settings import ConfigError, Problem, compare, load, parse, redacted

ROOT = Path(__file__).resolve().parents[2]
THE_EXAMPLE = """\
agent: { id: web-1, region: local, zone: a }
listen: { egress: "127.0.0.1:15001", admin: "127.0.0.1:15020" }
services:
  web:
    hosts: ["*"]                       # Host header or absolute-form authority; "*", exact, "*.suffix"
    endpoints: ["127.0.0.1:9000"]      # host:port, weight and zone optional; DNS names are resolved and re-resolved
    cache: { enabled: true }
"""


def problems(text: str, **environ: str) -> list[Problem]:
    with pytest.raises(ConfigError) as caught:
        parse(text, environ)
    return caught.value.problems


def told(text: str, **environ: str) -> dict[str, str]:
    return {problem.path: problem.message for problem in problems(text, **environ)}


def test_the_example_works_as_it_is() -> None:
    settings = parse(THE_EXAMPLE, {})
    assert (settings.agent.id, settings.agent.region, settings.agent.zone) == ("web-1", "local", "a")
    assert (settings.listen.egress, settings.listen.admin) == ("127.0.0.1:15001", "127.0.0.1:15020")
    web = settings.services["web"]
    assert (web.hosts, web.endpoints, web.cache.enabled) == (("*",), ("127.0.0.1:9000",), True)


def test_every_problem_is_told_at_once_with_path_line_found_and_expected() -> None:
    found = problems(
        "agent: { id: 7 }\n"
        "listen:\n"
        "  egress: nowhere\n"
        "  reuse_port: maybe\n"
        "services:\n"
        "  web:\n"
        "    hosts: '*'\n"
        "    endpoints: ['127.0.0.1:9000', '127.0.0.1:99999']\n"
        "  api:\n"
        "    hosts: ['api']\n"
        "    endpoints: ['10.0.0.1']\n"
        "    timeouts: { request: fast, conect: 1s }\n"
        "http: { connections_max: 0 }\n"
        "cache: { size: 1MiB, object_bytes_max: 2MiB }\n"
    )
    assert [(problem.path, problem.line) for problem in found] == [
        ("agent.id", 1),
        ("listen.reuse_port", 4),
        ("services.web.hosts", 7),
        ("services.api.timeouts.conect", 12),
        ("services.api.timeouts.request", 12),
        ("http.connections_max", 13),
        ("cache.object_bytes_max", 14),
    ]
    messages = {problem.path: problem.message for problem in found}
    assert messages["agent.id"] == "found the number 7, expected text: put it in quotes"
    assert messages["services.web.hosts"] == "found '*', expected a list"
    assert messages["services.api.timeouts.conect"] == "unknown key; did you mean connect?"
    assert "found 'fast', expected a duration" in messages["services.api.timeouts.request"]
    assert messages["http.connections_max"] == "found 0, expected at least 1"
    assert "2097152" in messages["cache.object_bytes_max"]
    assert str(found[0]) == "agent.id (line 1): found the number 7, expected text: put it in quotes"


def test_a_contradiction_is_told_beside_a_wrong_type_elsewhere() -> None:
    found = told("log: { level: loud }\nservices:\n  web: { hosts: ['*'], endpoints: ['nowhere'] }\n")
    assert set(found) == {"log.level", "services.web.endpoints[0]"}


def test_what_could_not_be_read_makes_no_false_contradictions() -> None:
    found = told("listen: { ingress: 7 }\napplication: { endpoints: ['127.0.0.1:8080'] }\n")
    assert set(found) == {"listen.ingress"}


@pytest.mark.parametrize(
    ("text", "path", "words"),
    [
        ("agnet: {}", "agnet", "did you mean agent?"),
        ("agent: { id: x }\nagent: { id: y }", "agent", "twice"),
        ("services: { web: { hosts: ['*'] } }", "services.web.endpoints", "found none"),
        ("services: { web: { hosts: ['*'], endpoints: [] } }", "services.web.endpoints", "expected at least one"),
        ("services: [web]", "services", "found a list, expected a mapping"),
        ("agent: 7", "agent", "found '7', expected a mapping with id"),
        ("? [a]\n: b", "", "found a list as a key"),
        ("drain: { delay: -1s }", "drain.delay", "at least 0"),
        ("drain: { delay: 4000d }", "drain.delay", "at most 315360000"),
        ("headers: { trace_sample: 120% }", "headers.trace_sample", "at most 1"),
        ("http: { connections_max: 1.5 }", "http.connections_max", "a whole number"),
        ("http: { connections_max: 99999999999 }", "http.connections_max", "at most 2147483647"),
        ("http: { head_bytes_max: 1 }", "http.head_bytes_max", "at least 256"),
        ("http: { head_bytes_max: 1KiB, target_bytes_max: 2KiB }", "http.target_bytes_max", "at most http.head_bytes_max"),
        ("listen: { egress: '127.0.0.1:15001', admin: '127.0.0.1:15001' }", "listen.admin", "is taken by listen.egress"),
        ("listen: { egress: 'unix:relative' }", "listen.egress", "expected host:port"),
        ("listen: { egress: 'http://127.0.0.1:80' }", "listen.egress", "expected host:port"),
        ("listen: { egress: '127.0.0.1:٣' }", "listen.egress", "expected host:port"),
        ("listen: { egress: '[::zz]:80' }", "listen.egress", "expected host:port"),
        ("listen: { ingress: '127.0.0.1:1' }", "listen.ingress", "application"),
        ("application: { endpoints: ['127.0.0.1:8080'] }", "application", "listen.ingress is not"),
        ('agent: { id: "a\\nb" }', "agent.id", "printable"),
        ("services: { web: { hosts: ['a b'], endpoints: ['a:1'] } }", "services.web.hosts[0]", "an exact host"),
        (
            "services: { web: { endpoints: ['a:1'], routes: [{ redirect: { path: '/a b' } }] } }",
            "services.web.routes[0].redirect.path",
            "ASCII",
        ),
        (
            "services: { web: { endpoints: ['a:1'], routes: [{ rewrite: { regex: '(a)', substitution: '\\2' } }] } }",
            "services.web.routes[0].rewrite.substitution",
            "groups",
        ),
        (
            "services: { web: { endpoints: ['a:1'], routes: [{ match: { regex: '(' } }] } }",
            "services.web.routes[0].match.regex",
            "expression",
        ),
        ("services: { web: { endpoints: ['a:1'], response_headers: { remove: ['€'] } } }", "services.web.response_headers.remove", "token"),
        (
            'services: { web: { endpoints: ["a:1"], routes: [{ respond: { content_type: "a\\r\\nb" } }] } }',
            "services.web.routes[0].respond.content_type",
            "control",
        ),
        (
            "listen: { ingress: '127.0.0.1:1' }\napplication: { endpoints: ['a:1'], rate_limits: [{ requests: 1, key: nonsense }] }",
            "application.rate_limits[0].key",
            "header:NAME",
        ),
        ('headers: { via: "" }\negress: { unmatched: pass }', "headers.via", "circle"),
        ('headers: { via: "a\\r\\nEvil: 1" }', "headers.via", "expected a token"),
        ("plugins: [{ name: a, config: { x: !python/name:os.system } }]", "plugins[0].config.x", "tagged"),
        ("plugins: [{ name: a, config: &loop { x: *loop } }]", "plugins[0].config" + ".x" * 65, "levels deep"),
        ("plugins: [{ name: header_rules }, { name: header_rules }]", "plugins[1].name", "twice"),
        ("a: [", "", "is not YAML"),
        ("[" * 5000, "", "nesting"),
        ("--- {}\n--- {}", "", "is not YAML"),
    ],
)
def test_what_is_wrong_is_told(text: str, path: str, words: str) -> None:
    found = told(text)
    assert list(found) == [path]
    assert words in found[path]


def test_yes_and_on_are_text_and_units_are_read() -> None:
    settings = parse(
        "agent: { id: on, zone: yes }\n"
        "drain: { delay: 250ms, timeout: 2m }\n"
        "http: { head_bytes_max: 64KiB, connections_max: 0x10 }\n"
        "headers: { trace_sample: 5% }\n",
        {},
    )
    assert (settings.agent.id, settings.agent.zone) == ("on", "yes")
    assert (settings.drain.delay, settings.drain.timeout) == (0.25, 120.0)
    assert (settings.http.head_bytes_max, settings.http.connections_max) == (65_536, 16)
    assert settings.headers.trace_sample == 0.05


@pytest.mark.parametrize("text", ["", "~", "agent:\nlisten:\nservices:\n"])
def test_what_is_left_out_is_as_by_default(text: str) -> None:
    assert parse(text, {}) == parse("{}", {})


def test_the_environment_overrides_the_file() -> None:
    settings = parse(
        THE_EXAMPLE,
        {
            "PILOTFISH_AGENT_ID": "7",
            "PILOTFISH_AGENT_ZONE": "b",
            "PILOTFISH_LISTEN_EGRESS": "[::1]:1",
            "PILOTFISH_LOG_LEVEL": "debug",
            "PILOTFISH_CONFIG": "/etc/pilotfish.yaml",
            "HOME": "/",
        },
    )
    assert (settings.agent.id, settings.agent.zone, settings.agent.region) == ("7", "b", "local")
    assert (settings.listen.egress, settings.listen.admin, settings.log.level) == ("[::1]:1", "127.0.0.1:15020", "debug")


def test_wrong_overrides_are_told_by_the_variables_name() -> None:
    found = told("", PILOTFISH_LOG_LEVEL="loud", PILOTFISH_AGENT_ZON="a", PILOTFISH_LISTEN_EGRESS="nowhere", PILOTFISH_NONSENSE="1")
    assert found["$PILOTFISH_LOG_LEVEL"] == "found 'loud', expected one of debug, info, warning, error"
    assert found["$PILOTFISH_AGENT_ZON"] == "no such override; did you mean PILOTFISH_AGENT_ZONE?"
    assert "expected one of PILOTFISH_AGENT_ID" in found["$PILOTFISH_NONSENSE"]
    assert "from $PILOTFISH_LISTEN_EGRESS" in found["listen.egress"]


def test_kubernetes_own_variables_of_a_service_named_pilotfish_are_no_overrides() -> None:
    environ = {
        "PILOTFISH_SERVICE_HOST": "10.0.0.1",
        "PILOTFISH_PORT": "tcp://10.0.0.1:80",
        "PILOTFISH_SERVICE_PORT_HTTP": "80",
        "PILOTFISH_COORDINATOR_SERVICE_HOST": "10.0.0.1",
        "PILOTFISH_COORDINATOR_PORT_80_TCP_ADDR": "10.0.0.1",
    }
    assert parse("", environ) == parse("", {})


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"agent: {id: \xff}")
    large = tmp_path / "large.yaml"
    large.write_bytes(b"#" * (4 * 1024 * 1024 + 1))
    for path, words in (
        (tmp_path / "none.yaml", "cannot be read"),
        (tmp_path, "cannot be read"),
        (binary, "not UTF-8"),
        (large, "at most"),
    ):
        with pytest.raises(ConfigError, match=words):
            load(path, {})


def test_comparing_names_what_changed_and_what_of_it_needs_a_restart() -> None:
    old = parse(THE_EXAMPLE, {})
    new = parse(THE_EXAMPLE.replace("zone: a", "zone: b").replace("enabled: true", "enabled: false") + "log: { level: debug }\n", {})
    changed, refused = compare(old, new)
    assert set(changed) == {"agent.zone", "services.web", "log.level"}
    assert refused == ["agent.zone"]
    assert compare(old, old) == ([], [])


def test_secrets_are_not_shown() -> None:
    settings = parse(
        THE_EXAMPLE + "    request_headers: { set: { Authorization: Bearer s3cret, X-Api-Key: s3cret, X-Plain: shown } }\n"
        "    routes: [{ match: { headers: { Authorization: Bearer s3cret } }, request_headers: { add: { Cookie: s3cret } } }]\n"
        "plugins: [{ name: auth, config: { keys: [s3cret], nested: { api_token: s3cret, other: shown } } }]\n",
        {},
    )
    shown = repr(redacted(settings))
    assert "s3cret" not in shown
    assert shown.count("shown") == 2


def test_the_json_schema_takes_the_examples_and_refuses_what_the_agent_refuses() -> None:
    schema = json.loads((ROOT / "config" / "pilotfish.schema.json").read_text())
    validator = Draft202012Validator(schema)
    for path in sorted((ROOT / "config").glob("*.yaml")):
        validator.validate(yaml.safe_load(path.read_text()))
    validator.validate(yaml.safe_load(THE_EXAMPLE))
    for text in ("agnet: {}", "agent: { colour: red }", "http: { connections_max: 0 }", "timeouts: { head: soon }", "log: { level: loud }"):
        assert not validator.is_valid(yaml.safe_load(text)), text
        problems(text)


CLUSTER = "cluster: { bind: '127.0.0.1:7946', keys: ['AAAAAAAAAAAAAAAAAAAAAA=='] }\n"


def test_a_cluster_is_absent_unless_it_is_there() -> None:
    assert parse(THE_EXAMPLE, {}).cluster is None
    found = parse(CLUSTER, {"PILOTFISH_CLUSTER_SEEDS": "10.0.0.1, 10.0.0.2:7", "PILOTFISH_CLUSTER_ADVERTISE": "10.0.0.3"}).cluster
    assert found is not None
    assert (found.seeds, found.advertise, found.preset) == (("10.0.0.1", "10.0.0.2:7"), "10.0.0.3", "lan")
    assert "$PILOTFISH_CLUSTER_SEEDS" in told(THE_EXAMPLE, PILOTFISH_CLUSTER_SEEDS="10.0.0.1")


def test_what_is_wrong_with_a_cluster_is_told_with_its_path_and_no_key_is_repeated() -> None:
    found = told(
        "cluster:\n"
        "  bind: nowhere\n"
        "  keys: ['c2hvcnQ=', '%%%']\n"
        "  seeds: ['10.0.0.1:99999', '[::1]:7', 'a b']\n"
        "  advertise: 'x:y'\n"
        "  preset: moon\n"
        f"  tags: {{ zone: b, long: {'x' * 300} }}\n"
    )
    assert found.keys() == {"cluster.preset"}, "the rest may only seem wrong"
    found = told(
        "cluster:\n"
        "  bind: nowhere\n"
        "  keys: ['c2hvcnQ=', '%%%']\n"
        "  seeds: ['10.0.0.1:99999', '[::1]:7', 'a b']\n"
        "  advertise: 'x:y'\n"
        f"  tags: {{ zone: b, long: {'x' * 300} }}\n"
    )
    assert found.keys() == {
        "cluster.bind",
        "cluster.keys[0]",
        "cluster.keys[1]",
        "cluster.seeds[0]",
        "cluster.seeds[2]",
        "cluster.advertise",
        "cluster.tags",
        "cluster.tags.zone",
    }
    assert "c2hvcnQ" not in str(found)
    assert "plaintext" in told("cluster: { bind: '127.0.0.1:1' }\n")["cluster"]
    assert "keyring_file" in told("cluster: { keyring_file: x, plaintext: true }\n")["cluster.plaintext"]


GATEWAY = "agent: { id: g, region: eu }\ncluster: { bind: '127.0.0.1:7946', plaintext: true, wan: { bind: '127.0.0.1:7947' } }\n"


def test_a_gateway_is_one_that_says_where_and_for_which_region() -> None:
    found = parse(GATEWAY, {"PILOTFISH_CLUSTER_WAN_BIND": "127.0.0.1:9"}).cluster
    assert found is not None and found.wan is not None and (found.wan.bind, found.wan.preset) == ("127.0.0.1:9", "wan")
    assert "cluster.wan" in told(CLUSTER, PILOTFISH_CLUSTER_WAN_BIND="127.0.0.1:9")["$PILOTFISH_CLUSTER_WAN_BIND"]
    assert set(told(GATEWAY.replace("7947", "7946"))) == {"cluster.wan.bind"}
    assert set(told(GATEWAY.replace("127.0.0.1:7947", "nowhere"))) == {"cluster.wan.bind"}
    assert set(told(GATEWAY.replace("region: eu", "region: 'e:u'"))) == {"cluster.wan"}
    assert set(told(GATEWAY.replace("region: eu", "region: ''"))) == {"cluster.wan"}
    assert set(told(GATEWAY.replace("7947'", "7947', seeds: ['a b'], advertise: 'x:y'"))) == {
        "cluster.wan.seeds[0]",
        "cluster.wan.advertise",
    }
    assert compare(parse(GATEWAY, {}), parse(GATEWAY.replace("7947", "7948"), {}))[1] == ["cluster.wan"]


def test_of_a_cluster_keys_and_tags_change_while_it_runs_and_keys_are_not_shown() -> None:
    before = parse(CLUSTER, {})
    after = parse("cluster: { bind: '127.0.0.1:1', keys: ['AAAAAAAAAAAAAAAAAAAAAQ=='], tags: { a: b } }\n", {})
    changed, refused = compare(before, after)
    assert (set(changed), refused) == ({"cluster.bind", "cluster.keys", "cluster.tags"}, ["cluster.bind"])
    assert "cluster" in compare(before, parse(THE_EXAMPLE, {}))[1]
    assert "AAAA" not in json.dumps(redacted(before))


def test_what_is_wrong_with_announcements_is_told_with_its_path() -> None:
    cluster = "cluster: { bind: 127.0.0.1:7946, plaintext: true }\n"
    wrong = """announce:
  - { service: web, address: "10.0.0.5:9000" }
  - { service: web, address: "10.0.0.6:9000" }
  - { service: api, address: "api.test:80" }
  - { service: api, address: "0.0.0.0:81" }
  - { service: api, address: "unix:/run/api" }
  - { service: "", address: "10.0.0.5:82", weight: 2000 }
"""
    assert set(told(cluster + wrong)) == {
        "announce[1]",
        "announce[2].address",
        "announce[3].address",
        "announce[4].address",
        "announce[5].service",
        "announce[5].weight",
    }
    assert set(told("announce: [{ service: web, address: '10.0.0.5:9000' }]")) == {"announce"}
    assert set(told("services: { web: { hosts: [web], discovered: true } }")) == {"services.web.discovered"}
    assert parse(cluster + "services: { web: { hosts: [web], discovered: true } }", {}).services["web"].discovered
