"""Freshness, age, the wishes of requests and Vary against references written from the text of RFC 9111, as slow and plain as
the text is."""

from email.utils import formatdate

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from agent.core.cache.entry import Entry
from agent.core.cache.freshness import age_seconds
from agent.core.cache.rules import HIT, HIT_STALE, REVALIDATE, evaluate
from agent.core.cache.store import CacheStore
from agent.core.cache.validation import merge_304, revalidation_fields
from agent.core.cache.vary import variant_of
from tests.property.cache_strategies import POLICY, request, response, stored

T0 = 1_700_000_000
seconds = st.integers(0, 200)
maybe = st.none() | seconds


def http_date(at: float) -> str:
    return formatdate(at, usegmt=True)


def lifetime(max_age: int | None, s_maxage: int | None, expires: int | None, date: int, modified: int | None) -> tuple[float, bool]:
    """RFC 9111 section 4.2.1, for a shared cache; and whether it is explicit."""
    if s_maxage is not None:
        return s_maxage, True
    if max_age is not None:
        return max_age, True
    if expires is not None:
        return max(expires - date, 0), True
    if modified is not None and modified <= date:
        return (date - modified) * 0.1, False
    return 0, False


def current_age(age_value: int, date_value: int, request_time: float, response_time: float, now: float) -> float:
    """RFC 9111 section 4.2.3, line by line."""
    apparent_age = max(0.0, response_time - date_value)
    response_delay = response_time - request_time
    corrected_age_value = age_value + response_delay
    corrected_initial_age = max(apparent_age, corrected_age_value)
    resident_time = now - response_time
    return corrected_initial_age + resident_time


@settings(max_examples=300, deadline=None)
@given(maybe, maybe, maybe, st.integers(-100, 100), maybe, maybe, st.integers(0, 8), st.integers(0, 400))
def test_fresh_is_what_the_text_says(
    max_age: int | None,
    s_maxage: int | None,
    expires: int | None,
    date: int,
    age: int | None,
    modified_ago: int | None,
    delay: int,
    later: int,
) -> None:
    lines = ['ETag: "a"', f"Date: {http_date(T0 + date)}"]
    control = [f"max-age={max_age}"] if max_age is not None else []
    control += [f"s-maxage={s_maxage}"] if s_maxage is not None else []
    if control:
        lines.append("Cache-Control: " + ", ".join(control))
    if expires is not None:
        lines.append(f"Expires: {http_date(T0 + expires)}")
    if age is not None:
        lines.append(f"Age: {age}")
    modified = T0 + date - modified_ago if modified_ago is not None else None
    if modified is not None:
        lines.append(f"Last-Modified: {http_date(modified)}")
    received = T0 + 50.0
    entry = stored(request(), response(*lines), received - delay, received)
    expected, _ = lifetime(max_age, s_maxage, T0 + expires if expires is not None else None, T0 + date, modified)
    now = received + later
    is_age = current_age(age or 0, T0 + date, received - delay, received, now)
    assert entry is not None, "there is a validator"
    assert age_seconds(entry, now) == int(is_age)
    assert (evaluate(entry, request(), now, POLICY).kind == HIT) == (expected > is_age)


WISHES = ["no-cache", "max-age", "min-fresh", "max-stale", "max-stale="]


@settings(max_examples=300, deadline=None)
@given(
    seconds,
    seconds,
    st.sampled_from(["", ", must-revalidate", ", proxy-revalidate", ", no-cache", ", stale-while-revalidate=30"]),
    st.dictionaries(st.sampled_from(WISHES), seconds, max_size=3),
)
def test_what_a_request_wishes(max_age: int, later: int, more: str, wishes: dict[str, int]) -> None:
    """RFC 9111 section 5.2.1 on what section 4 lets be reused."""
    if "max-stale" in wishes:
        wishes.pop("max-stale=", None)
    entry = stored(request(), response('ETag: "a"', f"Cache-Control: max-age={max_age}{more}"), T0, T0)
    assert entry is not None
    said = []
    for name, value in wishes.items():
        said.append(name if name in ("no-cache", "max-stale") else f"{name.rstrip('=')}={value}")
    ask = request(f"Cache-Control: {', '.join(said)}") if said else request()
    kind = evaluate(entry, ask, T0 + later, POLICY).kind
    left = max_age - later
    stale_ok = "revalidate" not in more or "while" in more
    within = "max-stale" in wishes or -left <= wishes.get("max-stale=", -1)
    if "no-cache" in wishes or "no-cache" in more:
        assert kind == REVALIDATE
    elif left > 0:
        young = "max-age" not in wishes or later < wishes["max-age"]
        lasting = "min-fresh" not in wishes or left >= wishes["min-fresh"]
        # A request that takes stale responses does not mind the age of a fresh one, unless it says max-age=0.
        if young and lasting:
            assert kind == HIT
        if not lasting:
            assert kind == REVALIDATE
        if not young and "max-stale" not in wishes and "max-stale=" not in wishes:
            assert kind == REVALIDATE
    else:
        if kind == HIT:
            assert within and stale_ok, "stale only where the request takes it and the response does not forbid it"
            assert "min-fresh" not in wishes or wishes["min-fresh"] <= left
        if kind == HIT_STALE:
            assert "stale-while-revalidate" in more and -left < 30
        if not wishes:
            assert (kind == HIT_STALE) == ("stale-while-revalidate" in more and -left < 30)


tokens = st.lists(st.sampled_from(["gzip", "br", "de", "en;q=0.5", "X"]), min_size=1, max_size=3)


@given(tokens, tokens, st.sampled_from(["Accept-Encoding", "Accept-Language", "X-Kind"]), st.data())
def test_variants_are_equal_exactly_where_the_values_mean_the_same(one: list[str], two: list[str], name: str, data: st.DataObject) -> None:
    """White space, several lines for one list; in weighted lists order and case (RFC 9111 section 4.1)."""
    weighted = name != "X-Kind"
    vary = (name.lower().encode(),)
    space = st.sampled_from(["", " ", "  ", "\t"])

    def written(values: list[str]) -> list[str]:
        cut = data.draw(st.integers(0, len(values)))
        lines = [values[:cut], values[cut:]]
        glue = data.draw(space) + "," + data.draw(space)
        return [f"{name}: {glue.join(line)}" for line in lines if line]

    same = sorted(value.lower() for value in one) == sorted(value.lower() for value in two) if weighted else one == two
    assert (variant_of(vary, request(*written(one))) == variant_of(vary, request(*written(two)))) == same
    assert variant_of(vary, request(*written(one))) != variant_of(vary, request())


class CacheMachine(RuleBasedStateMachine):
    """The rules put together as the data path does it (`agent.proxy.lookup`), with time, an origin that changes, and clients:
    nobody is ever given something older than the rules allow."""

    def __init__(self) -> None:
        super().__init__()
        self.now = float(T0)
        self.version = {"a": 1, "b": 1}
        self.changed = {"a": [self.now], "b": [self.now]}
        """When each version became current."""
        self.invalidated = self.now - 1.0
        self.store = CacheStore(1_000_000)
        self.asked = 0

    def origin(self, kind: str, tag: bytes | None) -> tuple[list[str], int, bytes]:
        self.asked += 1
        own = f'"{kind}{self.version[kind]}"'
        lines = [f"ETag: {own}", "Cache-Control: max-age=10", "Vary: X-Kind", f"Date: {http_date(self.now)}"]
        return lines, 304 if tag == own.encode() else 200, f"{kind}{self.version[kind]}".encode()

    def answer(self, kind: str, *wishes: str) -> bytes:
        ask = request(f"X-Kind: {kind}", *wishes)
        key = b"web " + ask.authority + ask.target
        slot = self.store.find(key)
        entry = slot.variants.get(variant_of(slot.vary, ask)) if slot is not None else None
        if entry is not None and evaluate(entry, ask, self.now, POLICY).kind == HIT:
            self.store.on_hit(entry)
            return b"".join(entry.body)
        tag = revalidation_fields(entry)[0].value if entry is not None else None
        lines, status, body = self.origin(kind, tag)
        fresh: Entry | None
        if status == 304 and entry is not None:
            fresh = merge_304(entry, response(*lines, status=304), ask, POLICY, self.now, self.now)
        else:
            fresh = stored(ask, response(*lines), self.now, self.now, body=body)
        assert fresh is not None
        self.store.put(fresh)
        return b"".join(fresh.body)

    @rule(by=st.floats(0.1, 8.0))
    def wait(self, by: float) -> None:
        self.now += by

    @rule(kind=st.sampled_from(["a", "b"]))
    def change(self, kind: str) -> None:
        self.version[kind] += 1
        self.changed[kind].append(self.now)

    @rule()
    def post(self) -> None:
        self.store.purge_url(b"a.test", b"/")
        self.invalidated = self.now

    @rule(kind=st.sampled_from(["a", "b"]), max_age=st.none() | st.integers(0, 10))
    def get(self, kind: str, max_age: int | None) -> None:
        asked = self.asked
        body = self.answer(kind, *([f"Cache-Control: max-age={max_age}"] if max_age is not None else []))
        assert body[:1] == kind.encode(), "the variant that was asked for"
        version = int(body[1:])
        times = self.changed[kind]
        replaced = times[version] if version < len(times) else self.now + 1.0
        # One second for Date, which has whole ones.
        assert self.now - replaced <= (10 if max_age is None else max_age), "older than it may be"
        assert replaced >= self.invalidated, "what an unsafe request made stale"
        if self.asked != asked:
            assert version == self.version[kind], "who is asked answers with what is current"


CacheMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestCache = CacheMachine.TestCase
