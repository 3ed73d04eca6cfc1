"""HTTP dates (RFC 9110 section 5.6.7): the three forms in, IMF-fixdate out."""

import re
from calendar import timegm
from typing import Final

_DAYS: Final = (b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun")
_MONTHS: Final = (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec")
_MONTH_NUMBER: Final[dict[bytes, int]] = {name: number for number, name in enumerate(_MONTHS, 1)}

_FIXDATE: Final = re.compile(rb"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), (\d{2}) (\w{3}) (\d{4}) (\d{2}):(\d{2}):(\d{2}) GMT")
_RFC850: Final = re.compile(rb"(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day, (\d{2})-(\w{3})-(\d{2}) (\d{2}):(\d{2}):(\d{2}) GMT")
_ASCTIME: Final = re.compile(rb"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) (\w{3}) ([ \d]\d) (\d{2}):(\d{2}):(\d{2}) (\d{4})")

_MEMO_MAX: Final = 512
_memo: Final[dict[bytes, int]] = {}


def parse_http_date(value: bytes) -> int | None:
    """Seconds since 1970 UTC, or None where `value` is no HTTP date."""
    known = _memo.get(value)
    if known is not None:
        return known
    seconds = _parse(value)
    if seconds is not None:
        if len(_memo) >= _MEMO_MAX:
            _memo.clear()
        _memo[value] = seconds
    return seconds


def _parse(value: bytes) -> int | None:
    match = _FIXDATE.fullmatch(value)
    if match is not None:
        day, month, year, hour, minute, second = match.groups()
        return _seconds(int(year), month, int(day), int(hour), int(minute), int(second))
    match = _RFC850.fullmatch(value)
    if match is not None:
        day, month, short, hour, minute, second = match.groups()
        # A two-digit year that seems more than 50 years ahead is in the past; 1970 to 2069 does that for this half century.
        century = 1900 if int(short) >= 70 else 2000
        return _seconds(century + int(short), month, int(day), int(hour), int(minute), int(second))
    match = _ASCTIME.fullmatch(value)
    if match is not None:
        month, day, hour, minute, second, year = match.groups()
        return _seconds(int(year), month, int(day), int(hour), int(minute), int(second))
    return None


def _seconds(year: int, month: bytes, day: int, hour: int, minute: int, second: int) -> int | None:
    number = _MONTH_NUMBER.get(month)
    if number is None or not 1 <= day <= 31 or hour > 23 or minute > 59 or second > 60 or year < 1:
        return None
    return timegm((year, number, day, hour, minute, second))


def format_http_date(seconds: int) -> bytes:
    """IMF-fixdate of a time in seconds since 1970 UTC."""
    days, rest = divmod(seconds, 86_400)
    year, month, day = _civil(days)
    return b"%s, %02d %s %04d %02d:%02d:%02d GMT" % (
        _DAYS[(days + 3) % 7],
        day,
        _MONTHS[month - 1],
        year,
        rest // 3600,
        rest // 60 % 60,
        rest % 60,
    )


def _civil(days: int) -> tuple[int, int, int]:
    """Year, month and day of a count of days since 1970-01-01 (Howard Hinnant's days-to-civil algorithm)."""
    days += 719_468
    era = days // 146_097
    of_era = days - era * 146_097
    year_of_era = (of_era - of_era // 1460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted = (5 * of_year + 2) // 153
    month = shifted + 3 if shifted < 10 else shifted - 9
    return year_of_era + era * 400 + (1 if month <= 2 else 0), month, of_year - (153 * shifted + 2) // 5 + 1
