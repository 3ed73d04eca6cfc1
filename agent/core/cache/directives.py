"""Cache-Control (RFC 9111 section 5.2, RFC 5861, RFC 8246) and the fields targeted at caches (RFC 9213)."""

import re
from typing import Final

DELTA_MAX: Final = 2_147_483_648
"""RFC 9111 section 1.2.2: a larger number of seconds counts as this one."""

_DIRECTIVE: Final = re.compile(rb'[ \t,]*([!#$%&\'*+\-.^_`|~0-9A-Za-z]+)(?:[ \t]*=[ \t]*("(?:[^"\\]|\\.)*"|[^", \t;]*))?[ \t]*(?=,|$)')
_TARGETED: Final = re.compile(
    rb'[ \t]*([a-z*][a-z0-9_\-.*]*)(?:=("(?:[^"\\]|\\.)*"|\?[01]|-?[0-9.]+|[^",;\s]+))?(?:[ \t]*;[^,]*)?[ \t]*(?:,|$)'
)

ABSENT: Final = -1
INVALID: Final = -2
"""A number that is none: whoever sent it meant something, and the safe reading is stale."""


class Directives:
    """What one Cache-Control says. Numbers are seconds, `ABSENT` where not given."""

    __slots__ = (
        "immutable",
        "max_age",
        "max_stale",
        "min_fresh",
        "must_revalidate",
        "must_understand",
        "no_cache",
        "no_cache_fields",
        "no_store",
        "no_transform",
        "only_if_cached",
        "present",
        "private",
        "private_fields",
        "proxy_revalidate",
        "public",
        "s_maxage",
        "stale_if_error",
        "stale_while_revalidate",
    )

    def __init__(self) -> None:
        self.present = False
        self.no_store = False
        self.no_cache = False
        self.no_cache_fields: tuple[bytes, ...] = ()
        self.private = False
        self.private_fields: tuple[bytes, ...] = ()
        self.public = False
        self.must_revalidate = False
        self.proxy_revalidate = False
        self.must_understand = False
        self.immutable = False
        self.no_transform = False
        self.only_if_cached = False
        self.max_age = ABSENT
        self.s_maxage = ABSENT
        self.stale_while_revalidate = ABSENT
        self.stale_if_error = ABSENT
        self.max_stale = ABSENT
        """Without a value: `DELTA_MAX`."""
        self.min_fresh = ABSENT


_MEMO_MAX: Final = 1024
_memo: Final[dict[bytes, Directives]] = {}
_targeted_memo: Final[dict[bytes, Directives | None]] = {}


def parse_cache_control(value: bytes) -> Directives:
    """The directives of a Cache-Control value (all lines joined). What is not understood is passed over."""
    known = _memo.get(value)
    if known is not None:
        return known
    directives = Directives()
    at = 0
    while at < len(value):
        match = _DIRECTIVE.match(value, at)
        if match is None:
            comma = value.find(b",", at)
            if comma < 0:
                break
            at = comma + 1
            continue
        at = match.end() + 1
        argument: bytes | None = match.group(2)
        _take(directives, match.group(1).lower(), argument)
    if len(_memo) >= _MEMO_MAX:
        _memo.clear()
    _memo[value] = directives
    return directives


def parse_targeted(value: bytes) -> Directives | None:
    """The directives of a CDN-Cache-Control value, a structured field dictionary (RFC 9213 section 2.1, RFC 8941). None
    where it does not parse: then it is as if it were not there."""
    if value in _targeted_memo:
        return _targeted_memo[value]
    directives: Directives | None = Directives()
    at = 0
    while at < len(value) and directives is not None:
        match = _TARGETED.match(value, at)
        if match is None or match.end() == at:
            directives = None
            break
        argument: bytes | None = match.group(2)
        name = match.group(1)
        if argument == b"?0":
            at = match.end()
            continue
        if argument == b"?1":
            argument = None
        if argument is not None and name in _NUMBERS and not argument.lstrip(b"-").isdigit():
            # A number was due: RFC 9213 section 2.1 has the directive ignored where its type is another.
            at = match.end()
            continue
        _take(directives, name, argument)
        at = match.end()
    if directives is not None and not directives.present:
        directives = None
    if len(_targeted_memo) >= _MEMO_MAX:
        _targeted_memo.clear()
    _targeted_memo[value] = directives
    return directives


_NUMBERS: Final = frozenset({b"max-age", b"s-maxage", b"stale-while-revalidate", b"stale-if-error"})


def _take(directives: Directives, name: bytes, argument: bytes | None) -> None:
    directives.present = True
    if name == b"max-age":
        directives.max_age = _first(directives.max_age, _seconds(argument))
    elif name == b"s-maxage":
        directives.s_maxage = _first(directives.s_maxage, _seconds(argument))
    elif name == b"stale-while-revalidate":
        directives.stale_while_revalidate = _seconds(argument)
    elif name == b"stale-if-error":
        directives.stale_if_error = _seconds(argument)
    elif name == b"max-stale":
        directives.max_stale = DELTA_MAX if not argument else _seconds(argument)
    elif name == b"min-fresh":
        directives.min_fresh = _seconds(argument)
    elif name == b"no-cache":
        if argument:
            directives.no_cache_fields += _names(argument)
        else:
            directives.no_cache = True
    elif name == b"private":
        if argument:
            directives.private_fields += _names(argument)
        else:
            directives.private = True
    else:
        _take_flag(directives, name)


def _take_flag(directives: Directives, name: bytes) -> None:
    if name == b"no-store":
        directives.no_store = True
    elif name == b"public":
        directives.public = True
    elif name == b"must-revalidate":
        directives.must_revalidate = True
    elif name == b"proxy-revalidate":
        directives.proxy_revalidate = True
    elif name == b"must-understand":
        directives.must_understand = True
    elif name == b"immutable":
        directives.immutable = True
    elif name == b"no-transform":
        directives.no_transform = True
    elif name == b"only-if-cached":
        directives.only_if_cached = True


def _first(earlier: int, later: int) -> int:
    """Of a directive given twice the more cautious holds (RFC 9111 section 4.2.1 lets a cache choose)."""
    if earlier == ABSENT:
        return later
    return min(earlier, later)


def _seconds(argument: bytes | None) -> int:
    if argument is None:
        return INVALID
    if argument[:1] == b'"':
        argument = argument[1:-1]
    if not argument.isdigit():
        return INVALID
    return min(int(argument[:12]), DELTA_MAX)


def _names(argument: bytes) -> tuple[bytes, ...]:
    return tuple(name.strip().lower() for name in argument.strip(b'"').split(b",") if name.strip())
