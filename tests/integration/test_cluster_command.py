"""`pilotfish cluster`, used as a person uses it, against an agent whose cluster does as the test says."""

import base64
import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.fabric import KEY, OTHER_KEY, AdminThread, FakeFabric, configuration, fingerprint, member
from tests.harness.wait import wait_until

ROOT = Path(__file__).resolve().parents[2]
HOSTILE = "web\x1b[2J\x07[red]"


@pytest.fixture
def admin(tmp_path: Path) -> Iterator[AdminThread]:
    with AdminThread(configuration(tmp_path), FakeFabric()) as admin:
        yield admin


def cluster(admin: AdminThread | str, *words: str, given: str = "") -> subprocess.CompletedProcess[str]:
    where = admin if isinstance(admin, str) else admin.address
    command = [sys.executable, "-m", "agent", "cluster", *words, *(["--admin", where] if where else [])]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, input=given, timeout=60, check=False)
    assert "Traceback" not in done.stderr
    return done


def test_members_are_a_line_each_and_can_be_chosen(admin: AdminThread) -> None:
    assert admin.fabric is not None
    admin.fabric.rows.append(member("web-4", "b", "dead", health=None, load=None, rtt_ms=None))
    done = cluster(admin, "members")
    assert done.returncode == 0, done.stderr
    assert re.search(r"^member +state +for +region +zone", done.stdout)
    assert re.search(r"^web-2 +alive +12s +eu-1 +a +\S+ +ok +0\.42 +31% +4", done.stdout, re.MULTILINE)
    assert re.search(r"^web-4 +dead +12s +eu-1 +b +\S+ +- +- +- +-", done.stdout, re.MULTILINE)
    assert "3 alive  1 dead" in done.stdout
    assert "web-2" not in cluster(admin, "members", "--state", "dead").stdout
    rows = json.loads(cluster(admin, "members", "--zone", "b", "--json").stdout)
    assert [row["name"] for row in rows] == ["web-3", "web-4"]


def test_an_agent_is_reached_by_its_socket_too(tmp_path: Path) -> None:
    listen = {"egress": "127.0.0.1:0", "admin": f"unix:{tmp_path / 'admin.sock'}"}
    with AdminThread(configuration(tmp_path, listen=listen), FakeFabric()) as admin:
        assert "3 alive" in cluster(admin, "members").stdout
        assert cluster(admin, "ping", "web-2").stdout == "web-2: 0.42 ms\n"


def test_health_says_by_its_exit_code_whether_all_is_well(admin: AdminThread) -> None:
    assert admin.fabric is not None
    done = cluster(admin, "health")
    assert (done.returncode, done.stderr) == (0, "")
    assert "test-1: ok; hears others well; encrypted" in done.stdout
    admin.fabric.rows[1]["health"] = {"level": "degraded", "reason": "event loop lags"}
    done = cluster(admin, "health")
    assert done.returncode == 1
    assert re.search(r"web-2 +alive +degraded \(event loop lags\)", done.stdout)
    assert json.loads(cluster(admin, "health", "--json").stdout)["unwell"][0]["name"] == "web-2"


def test_a_rotation_in_its_steps(admin: AdminThread, tmp_path: Path) -> None:
    made = cluster("", "keys", "generate")
    assert len(base64.b64decode(made.stdout)) == 32
    assert fingerprint(KEY) in cluster(admin, "keys").stdout
    path = tmp_path / "key"
    path.write_text(OTHER_KEY + "\n")
    done = cluster(admin, "keys", "install", str(path))
    assert done.returncode == 1  # one member of three did not follow
    assert "install: acknowledged 2 of 3 by members of the cluster" in done.stdout
    assert "web-3: does not answer" in done.stdout
    assert cluster(admin, "keys", "use", "-", given=OTHER_KEY).returncode == 1
    found = json.loads(cluster(admin, "keys", "list", "--json").stdout)["keys"]
    assert [(row["fingerprint"], row["primary"]) for row in found] == [(fingerprint(OTHER_KEY), True), (fingerprint(KEY), False)]
    refused = cluster(admin, "keys", "remove", str(path))
    assert refused.returncode == 1
    assert "the primary key cannot be removed" in refused.stderr
    assert OTHER_KEY not in refused.stdout + refused.stderr + done.stdout


@pytest.mark.parametrize("words", [("install",), ("install", "/no/such/file"), ("install", "-")])
def test_a_key_that_is_not_there_is_told(admin: AdminThread, words: tuple[str, ...]) -> None:
    done = cluster(admin, "keys", *words)
    assert done.returncode == 1
    assert done.stderr.startswith("pilotfish cluster keys: ")


def test_keys_in_plaintext_say_so(admin: AdminThread) -> None:
    assert admin.fabric is not None
    admin.fabric.encrypted, admin.fabric.keyring = False, []
    assert "not encrypted" in cluster(admin, "keys").stdout
    assert "NOT encrypted" in cluster(admin, "health").stdout


def test_ping_and_leave(admin: AdminThread) -> None:
    assert cluster(admin, "ping", "web-2", "--count", "2").stdout == "web-2: 0.42 ms\nweb-2: 0.42 ms\n"
    nobody = cluster(admin, "ping", "web-9")
    assert (nobody.returncode, nobody.stdout) == (1, "")
    assert "no member is called 'web-9'" in nobody.stderr
    assert "web-3 does not answer" in cluster(admin, "ping", "web-3").stderr
    assert json.loads(cluster(admin, "leave", "--json").stdout) == {"status": "left"}
    assert admin.fabric is not None
    assert admin.fabric.left


def test_events_are_told_as_they_happen_until_ctrl_c(admin: AdminThread) -> None:
    fabric = admin.fabric
    assert fabric is not None
    admin.do(lambda: fabric.emit("join", "web-7", "10.0.0.7:7946"))
    command = [sys.executable, "-m", "agent", "cluster", "events", "--recent", "9", "--admin", admin.address]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as shown:
        assert shown.stdout is not None
        assert shown.stderr is not None
        assert re.search(r"\d\d:\d\d:\d\d\.\d{3}  join +web-7  10\.0\.0\.7:7946$", shown.stdout.readline().rstrip("\n"))
        admin.do(lambda: fabric.emit("fail", HOSTILE))
        assert shown.stdout.readline().endswith("fail     web\\x1b[2J\\x07[red]\n")
        shown.send_signal(signal.SIGINT)
        assert shown.wait(20) == 130
        assert "Traceback" not in shown.stderr.read()


def test_events_end_after_a_count_or_with_the_agent(admin: AdminThread) -> None:
    fabric = admin.fabric
    assert fabric is not None
    for number in range(3):
        admin.do(lambda number=number: fabric.emit("join", f"m-{number}"))
    done = cluster(admin, "events", "--recent", "2", "--count", "2", "--json")
    assert done.returncode == 0
    assert [json.loads(line)["member"] for line in done.stdout.splitlines()] == ["m-1", "m-2"]
    ring = admin.server._cluster.ring
    command = [sys.executable, "-m", "agent", "cluster", "events", "--admin", admin.address]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as shown:
        wait_until(lambda: ring.readers == 1, "the reader is there")
        admin.do(ring.close)
        assert shown.wait(20) == 1
        assert shown.stderr is not None
        assert "the agent ended the stream" in shown.stderr.read()


def test_names_that_members_gave_themselves_do_not_steer_the_terminal(admin: AdminThread) -> None:
    assert admin.fabric is not None
    admin.fabric.rows[1] = member(HOSTILE, zone="[bold]\x1b]0;x", health={"level": "unhealthy", "reason": "\x1b[31m"})
    for command in ("members", "health"):
        done = cluster(admin, command)
        assert "\x1b" not in done.stdout
        assert "\x07" not in done.stdout
        assert "web\\x1b[2J\\x07[red]" in done.stdout


@pytest.mark.parametrize("words", [("members",), ("health",), ("keys",), ("keys", "list"), ("leave",), ("ping", "x"), ("events",)])
def test_without_a_cluster_or_an_agent_the_error_is_clear(tmp_path: Path, words: tuple[str, ...]) -> None:
    with AdminThread(configuration(tmp_path)) as alone:
        done = cluster(alone, *words)
    assert done.returncode == 1
    assert "no cluster is configured: set cluster.bind" in done.stderr
    done = cluster("127.0.0.1:1", *words)
    assert done.returncode == 1
    assert "refused" in done.stderr


@pytest.mark.parametrize(
    "words", [(), ("nonsense",), ("ping",), ("members", "--state", "odd"), ("events", "--count", "-1"), ("keys", "eat")]
)
def test_wrong_use_is_2(words: tuple[str, ...]) -> None:
    assert cluster("", *words).returncode == 2
