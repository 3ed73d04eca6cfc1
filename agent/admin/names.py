"""By which names the listener on loopback answers to."""

from ipaddress import ip_address
from urllib.parse import urlsplit


def known_name(host: str, arrived_at: str) -> bool:
    """Whether a request with this Host, which arrived at this address of ours, was meant for us. Beyond loopback every name may be."""
    if not _loopback(arrived_at):
        return True
    try:
        name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return False
    return name == "localhost" or name.endswith(".localhost") or _address(name)


def _loopback(text: str) -> bool:
    try:
        return ip_address(text).is_loopback
    except ValueError:
        return False


def _address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
