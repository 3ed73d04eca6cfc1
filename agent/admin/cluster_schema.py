"""The part of the OpenAPI document that is about the cluster and the page."""

from typing import Any, Final

from agent.admin.mesh import STATES
from agent.admin.schema import COUNT, FLAG, NUMBER, TEXT, Schema, array, fields, mapping, one_of, operation, or_null

_HEALTH: Final = fields(level=TEXT, reason=TEXT)
_LOAD: Final = fields(
    cpu=NUMBER,
    memory=NUMBER,
    loop_lag_s=NUMBER,
    in_flight=COUNT,
    queue=COUNT,
    ai=NUMBER,
    latency=mapping(fields(p50_ms=NUMBER, p99_ms=NUMBER)),
)
_SELF: Final = fields(
    name=TEXT,
    address=TEXT,
    region=TEXT,
    zone=TEXT,
    cluster=TEXT,
    preset=TEXT,
    incarnation=COUNT,
    encrypted=FLAG,
    health_score={"type": "integer", "minimum": 0, "maximum": 8},
    health=_HEALTH,
)
_MEMBER: Final = fields(
    name=TEXT,
    address=TEXT,
    region=TEXT,
    zone=TEXT,
    state=one_of(*STATES),
    since_s=NUMBER,
    incarnation=COUNT,
    rtt_ms=or_null(NUMBER),
    roles=array(TEXT),
    admin=TEXT,
    tags=mapping(TEXT),
    versions=mapping({"anyOf": [TEXT, NUMBER]}),
    health=or_null(_HEALTH),
    load=or_null(_LOAD),
    cache=or_null(fields(entries=COUNT, bytes=COUNT, hits=COUNT, asked=COUNT)),
    hot=or_null(fields(keys=COUNT, bits=COUNT)),
)
_COUNTS: Final = fields(**dict.fromkeys(STATES, COUNT))
_KEYS: Final = array(fields(fingerprint=TEXT, bits=COUNT, primary=FLAG))
_GATEWAYS: Final = array(fields(name=TEXT, address=TEXT, region=TEXT, state=one_of(*STATES), since_s=NUMBER, rtt_ms=or_null(NUMBER)))
_WAN: Final = fields(
    name=TEXT,
    members=_GATEWAYS,
    gossip=mapping(NUMBER),
    invalidations=mapping(NUMBER),
)
_ONE_PEER: Final = fields(member=TEXT, breaker=one_of("closed", "open", "half-open"), ejected=FLAG)


def components(clusters: Schema) -> dict[str, Schema]:
    """clusters: the schema of `/clusters`, whose endpoints the mesh shows with more."""
    service = clusters["items"]
    endpoint = service["properties"]["endpoints"]["items"]
    known = fields(**endpoint["properties"], announced_by=TEXT, peers_say=array(_ONE_PEER))
    return {
        "Cluster": fields(
            self=_SELF,
            counts=_COUNTS,
            members=array(_MEMBER),
            keys=_KEYS,
            gossip=mapping(NUMBER),
            invalidations=mapping(NUMBER),
            wan=or_null(_WAN),
        ),
        "Members": array(_MEMBER),
        "Wan": fields(region=TEXT, gateway=FLAG, regions=mapping(or_null(NUMBER)), members=or_null(_GATEWAYS)),
        "ClusterHealth": fields(
            name=TEXT,
            health=_HEALTH,
            health_score=COUNT,
            encrypted=FLAG,
            counts=_COUNTS,
            unwell=array(fields(name=TEXT, state=one_of(*STATES), level=TEXT, reason=TEXT)),
        ),
        "Keys": fields(encrypted=FLAG, keys=_KEYS),
        "KeyChange": fields(op=one_of("list", "install", "use", "remove"), key_=TEXT),
        "KeysChanged": fields(
            op=TEXT,
            scope=one_of("cluster", "local"),
            acknowledged=COUNT,
            of=COUNT,
            errors=mapping(TEXT),
            keys=array(fields(fingerprint=TEXT, primary=FLAG, members=COUNT)),
            regions_=mapping(fields(acknowledged=COUNT, of=COUNT)),
        ),
        "Holders": fields(service=TEXT, url=TEXT, members=array(TEXT), told_by=COUNT),
        "Left": fields(status=one_of("left")),
        "PingWish": fields(member=TEXT),
        "Ping": fields(member=TEXT, rtt_ms=NUMBER),
        "Mesh": fields(
            self=_SELF,
            counts=_COUNTS,
            members=array(_MEMBER),
            latency=fields(by=one_of("member", "zone"), names=array(TEXT), ms=array(array(or_null(NUMBER)))),
            services=array(fields(**{**service["properties"], "endpoints": array(known)})),
        ),
    }


PATHS: Final[dict[str, dict[str, dict[str, Any]]]] = {
    "/cluster": {"get": operation("The cluster as this agent sees it", {200: "Cluster", 404: "Error"})},
    "/cluster/members": {"get": operation("Members, their state and what they tell of themselves", {200: "Members", 404: "Error"})},
    "/cluster/wan": {
        "get": operation(
            "Other regions, their round trips in ms, and the gateways of all, as one of this region sees them", {200: "Wan", 404: "Error"}
        )
    },
    "/cluster/health": {"get": operation("Who is not well, and how well this agent hears", {200: "ClusterHealth", 404: "Error"})},
    "/cluster/keys": {
        "get": operation("Fingerprints of this agent's keys", {200: "Keys", 404: "Error"}),
        "post": operation(
            "List, install, use or remove a key across the cluster", {200: "KeysChanged", 400: "Error", 404: "Error"}, body="KeyChange"
        ),
    },
    "/cluster/holders": {
        "get": operation(
            "Members whose digest of hot keys seems to have a URL",
            {200: "Holders", 400: "Error", 404: "Error"},
            {"service": "of the cache", "url": "http://host/path"},
        )
    },
    "/cluster/leave": {"post": operation("Leave the cluster; the agent goes on alone", {200: "Left", 404: "Error"})},
    "/cluster/ping": {
        "post": operation("Probe a member", {200: "Ping", 400: "Error", 404: "Error", 504: "Error"}, body="PingWish"),
    },
    "/cluster/events": {
        "get": operation(
            "What happens, as server-sent events; Last-Event-ID goes on where a reader was",
            {200: "text/event-stream", 404: "Error", 503: "Error"},
            {"recent": "begin with so many of the latest"},
        )
    },
    "/cluster/mesh": {"get": operation("All that the page shows: members, latency, services, caches", {200: "Mesh", 404: "Error"})},
    "/": {"get": operation("The page that shows the mesh", {200: "text/html"})},
    "/ui/{name}": {
        "get": operation(
            "Its files", {200: "text/html,text/css,text/javascript,image/svg+xml", 404: "Error"}, path={"name": "a file of the page"}
        )
    },
}
