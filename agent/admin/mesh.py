"""One agent's view of the mesh as JSON: members, the latency between them, services with what peers say of their endpoints, caches."""

from typing import Any, Final

STATES: Final = ("alive", "suspect", "dead", "left")
MATRIX_MAX: Final = 24
"""More members than this are shown by zone: a matrix that grows with the square of them is read by nobody."""

SAMPLE: Final = 8
"""Members of a zone whose round trips stand for it: enough for a median, and a thousand members cost no more than a few zones."""
INNER: Final = ("announced", "judgements", "peers_ms")
"""What the mesh shows elsewhere than at its members."""


def member(row: dict[str, Any]) -> dict[str, Any]:
    """A member as the API shows it."""
    shown = row.copy()
    for name in INNER:
        del shown[name]
    return shown


def counts(rows: list[dict[str, Any]]) -> dict[str, int]:
    """Members by state."""
    found = dict.fromkeys(STATES, 0)
    for row in rows:
        found[row["state"]] += 1
    return found


def unwell(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Members that are suspect or dead, or say themselves that they are not well, with the reason."""
    found = []
    for row in rows:
        health = row["health"] or {"level": "", "reason": ""}
        failing = row["state"] in ("suspect", "dead")
        if failing or (row["state"] == "alive" and health["level"] not in ("", "ok")):
            found.append({"name": row["name"], "state": row["state"], "level": health["level"], "reason": health["reason"]})
    return found


def cache_use(path: Any) -> dict[str, int]:
    """What this agent's store holds, and how much it was asked and answered."""
    from agent.proxy.counters import CLASSES, OUTCOMES

    found: dict[str, int] = {}
    for books in path.counters.values():
        for index, series in enumerate(books.table):
            if series is not None:
                name = OUTCOMES[index // CLASSES]
                found[name] = found.get(name, 0) + series.count
    hits = found.get("hit", 0) + found.get("stale", 0)
    asked = hits + found.get("miss", 0) + found.get("revalidated", 0)
    return {"entries": path.store.count, "bytes": path.store.used_bytes, "hits": hits, "asked": asked}


def latency(own: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The matrix of round trips, from (rows) to (columns), milliseconds; None where nobody measured."""
    live = [row for row in rows if row["state"] in ("alive", "suspect")]
    if len(live) > MATRIX_MAX:
        return _by_zone(live)
    ordered = sorted(live, key=lambda row: (row["region"], row["zone"], row["name"]))
    measured: dict[tuple[str, str], float] = {}
    for row in ordered:
        for name, rtt_ms in (row["peers_ms"] or {}).items():
            measured[row["name"], name] = rtt_ms
        if row["name"] != own and row["rtt_ms"] is not None:
            measured[own, row["name"]] = row["rtt_ms"]
    names = [row["name"] for row in ordered]
    return {"by": "member", "names": names, "ms": [[measured.get((a, b)) for b in names] for a in names]}


def _by_zone(live: list[dict[str, Any]]) -> dict[str, Any]:
    place = {row["name"]: "/".join(part for part in (row["region"], row["zone"]) if part) or "(no zone)" for row in live}
    taken: dict[str, int] = {}
    pairs: dict[tuple[str, str], list[float]] = {}
    for row in live:
        here = place[row["name"]]
        if not row["peers_ms"] or taken.get(here, 0) == SAMPLE:
            continue
        taken[here] = taken.get(here, 0) + 1
        for name, rtt_ms in row["peers_ms"].items():
            if name in place:
                pairs.setdefault((here, place[name]), []).append(rtt_ms)
    zones = sorted(set(place.values()))[:MATRIX_MAX]
    middle = [[_median(pairs[a, b]) if (a, b) in pairs else None for b in zones] for a in zones]
    return {"by": "zone", "names": zones, "ms": middle}


def _median(values: list[float]) -> float:
    """The upper one where there are two; `statistics` is a megabyte for an agent to have in memory."""
    return round(sorted(values)[len(values) // 2], 3)


def services(clusters: list[dict[str, Any]], rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The services as `/clusters` has them, each endpoint with who announces it and what peers have come to think of it."""
    announced: dict[tuple[str, str], str] = {}
    judged: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        if row["state"] in ("alive", "suspect"):
            for one in row["announced"]:
                announced[one["service"], one["address"]] = row["name"]
            for one in row["judgements"]:
                told = {"member": row["name"], "breaker": one["breaker"], "ejected": one["ejected"]}
                judged.setdefault((one["service"], one["address"]), []).append(told)
    found = []
    for cluster in clusters:
        endpoints = []
        for endpoint in cluster["endpoints"]:
            key = (cluster["name"], endpoint["address"])
            endpoints.append({**endpoint, "announced_by": announced.get(key, ""), "peers_say": judged.get(key, [])})
        found.append({**cluster, "endpoints": endpoints})
    return found
