"""Whatever an agent sends about a group, it is read or refused; nothing else."""

from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from agent.cluster.consensus import messages
from agent.cluster.consensus.messages import Ask, Commands, Ordered, Outcomes, Question, Questions, Told

numbers = st.integers(0, 2**63 - 1)
asks = st.builds(Ask, numbers, numbers, numbers, numbers, st.binary(max_size=50))
tolds = st.builds(Told, numbers, st.text(max_size=64), st.binary(max_size=50), st.text(max_size=253))
every = st.one_of(
    st.builds(Commands, st.lists(asks, max_size=5).map(tuple)),
    st.builds(Outcomes, st.lists(tolds, max_size=5).map(tuple)),
    st.builds(Questions, st.lists(st.builds(Question, numbers, st.booleans(), st.binary(max_size=50)), max_size=5).map(tuple)),
    st.builds(Ordered, numbers, st.text(max_size=512)),
)


@given(every)
def test_what_is_said_is_heard(message: messages.Message) -> None:
    assert messages.decode(messages.encode(message)) == message


@given(st.binary(max_size=300))
def test_any_octets_are_a_message_or_refused(octets: bytes) -> None:
    with suppress(*messages.UNREADABLE):
        messages.decode(octets)


@given(every, st.data())
def test_a_message_with_an_octet_changed_is_a_message_or_refused(message: messages.Message, data: st.DataObject) -> None:
    octets = bytearray(messages.encode(message))
    octets[data.draw(st.integers(0, len(octets) - 1))] ^= data.draw(st.integers(1, 255))
    with suppress(*messages.UNREADABLE):
        messages.decode(bytes(octets))
