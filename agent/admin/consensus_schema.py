"""The part of the OpenAPI document that is about consensus."""

from typing import Any, Final

from agent.admin.schema import COUNT, FLAG, NUMBER, TEXT, Schema, array, fields, mapping, one_of, operation, or_null

ROLES: Final = ("absent", "learner", "voter", "leader", "client")
_MEMBER: Final = fields(
    name=TEXT,
    id=COUNT,
    role=one_of(*ROLES),
    becomes=one_of("", "voter", "none"),
    zone=TEXT,
    region=TEXT,
    priority=COUNT,
    alive=FLAG,
    address=TEXT,
    durable=FLAG,
    match=or_null(COUNT),
)
_PEER: Final = fields(connected=FLAG, outgoing=FLAG, incoming=FLAG, waiting_bytes=COUNT, identity=TEXT)

COMPONENTS: Final[dict[str, Schema]] = {
    "Consensus": fields(
        name=TEXT,
        group=TEXT,
        group_id=TEXT,
        member=COUNT,
        state=one_of("off", "client", "founding", "joining", "member"),
        ready=FLAG,
        reason=TEXT,
        role=one_of(*ROLES),
        leader=COUNT,
        leader_name=TEXT,
        term=COUNT,
        mode=TEXT,
        durable=FLAG,
        writable=FLAG,
        commit=COUNT,
        applied=COUNT,
        machine_time_ms=COUNT,
        revision=COUNT,
        fresh_s=or_null(NUMBER),
        log_bytes=COUNT,
        snapshot_index=COUNT,
        snapshot_bytes=COUNT,
        under_way=COUNT,
        last_change=TEXT,
        groups_seen=COUNT,
        members=array(_MEMBER),
        peers=mapping(_PEER),
    ),
    "ConsensusMembers": array(_MEMBER),
    "ConsensusWish": fields(agent_=TEXT),
    "ConsensusOrder": fields(status=one_of("accepted"), order=TEXT, agent=TEXT),
    "ConsensusSnapshot": fields(index=COUNT),
    "ConsensusLimits": mapping(COUNT),
}
_ORDER: Final = {200: "ConsensusOrder", 400: "Error", 404: "Error", 409: "Error", 504: "Error"}
PATHS: Final[dict[str, dict[str, dict[str, Any]]]] = {
    "/consensus": {"get": operation("The group of agents that agree, as this agent sees it", {200: "Consensus", 404: "Error"})},
    "/consensus/members": {"get": operation("Its members, and agents that may become some", {200: "ConsensusMembers", 404: "Error"})},
    "/consensus/add": {"post": operation("Make an agent a voter", _ORDER, body="ConsensusWish")},
    "/consensus/remove": {"post": operation("Let the group go on without a member", _ORDER, body="ConsensusWish")},
    "/consensus/transfer": {"post": operation("Hand the leadership to a voter, or to whoever is best", _ORDER, body="ConsensusWish")},
    "/consensus/limits": {
        "get": operation("Bounds of the replicated state", {200: "ConsensusLimits", 404: "Error", 409: "Error", 504: "Error"}),
        "post": operation(
            "Set some of them, for the whole group",
            {200: "ConsensusLimits", 400: "Error", 404: "Error", 409: "Error", 504: "Error"},
            body="ConsensusLimits",
        ),
    },
    "/consensus/snapshot": {
        "post": operation("Take a snapshot on this agent", {200: "ConsensusSnapshot", 404: "Error", 409: "Error", 504: "Error"})
    },
}
