"""What is measured: the kinds of traffic, and what a right answer to each is."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Scenario:
    """Traffic of one kind over `connections` keep-alive connections, each with one request under way at a time."""

    name: str
    title: str
    path: str
    connections: int = 64
    script: str = "report.lua"
    method: str = "GET"
    size: int = 1024
    "Bytes in the response body."
    hit: bool = False
    "Answered from the proxy's cache: the upstream must not see it. Otherwise it must see every one."


TRAFFIC = (
    Scenario("hit", "cache hit, 1 KiB", "/cached/1k", hit=True),
    Scenario("forward", "forward, 1 KiB", "/plain/1k"),
    Scenario("body64k", "forward, 64 KiB", "/plain/64k", size=65536),
    Scenario("body64k-hit", "cache hit, 64 KiB", "/cached/64k", size=65536, hit=True),
    Scenario("post", "POST 1 KiB", "/post", script="post.lua", method="POST"),
    Scenario("hit-c1", "cache hit, 1 connection", "/cached/1k", connections=1, hit=True),
    Scenario("hit-c256", "cache hit, 256 connections", "/cached/1k", connections=256, hit=True),
    Scenario("forward-c1", "forward, 1 connection", "/plain/1k", connections=1),
    Scenario("forward-c256", "forward, 256 connections", "/plain/1k", connections=256),
    Scenario("hit-distinct", "cache hit, distinct heads", "/cached/1k", script="distinct.lua", hit=True),
    Scenario("forward-distinct", "forward, distinct heads", "/plain/1k", script="distinct.lua"),
)
BY_NAME = {scenario.name: scenario for scenario in TRAFFIC}
# Measured in their own way, not by saturating traffic.
IDLE = "idle10k"
START = "start"
NAMES = (*BY_NAME, IDLE, START)
