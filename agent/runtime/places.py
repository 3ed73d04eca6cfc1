"""Where this machine is reached."""

import socket

import psutil


def own_places(host: str, port: int) -> set[tuple[str, int]]:
    """Every place (address, port) at which a listener on `host` is reached from this machine."""
    places = {(host, port)}
    if host in ("0.0.0.0", "::"):
        families = (socket.AF_INET,) if host == "0.0.0.0" else (socket.AF_INET, socket.AF_INET6)
        for rows in psutil.net_if_addrs().values():
            places.update((row.address.partition("%")[0], port) for row in rows if row.family in families)
    if host in ("127.0.0.1", "::1", "0.0.0.0", "::"):
        places.add(("localhost", port))
    return places
