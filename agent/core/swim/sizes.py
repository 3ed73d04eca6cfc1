"""About how long a message is on the wire (msgpack maps with memberlist's field names): never less than it is."""

from agent.core.swim.messages import Ack, Alive, Dead, Foreign, IndirectPing, Message, Nack, NodeState, Ping, PushPull, Suspect, User

PACKED_BYTES = 3
"""What a compound adds for each message: its length; and its kind."""


def size_of(message: Message) -> int:
    if isinstance(message, Ping):
        return 66 + len(message.node) + len(message.source_address) + len(message.source_node)
    if isinstance(message, Ack):
        return 26 + len(message.payload)
    if isinstance(message, Alive):
        return 66 + len(message.node) + len(message.address) + len(message.meta)
    if isinstance(message, Suspect | Dead):
        return 36 + len(message.node) + len(message.source)
    if isinstance(message, IndirectPing):
        return 90 + len(message.node) + len(message.target) + len(message.source_address) + len(message.source_node)
    if isinstance(message, Nack):
        return 14
    if isinstance(message, User | Foreign):
        return 4 + len(message.payload)
    if isinstance(message, PushPull):
        return 40 + sum([state_size(node) for node in message.nodes]) + len(message.user)
    return 16 + len(message.text)


def state_size(node: NodeState) -> int:
    """Its share of a push/pull."""
    return 70 + len(node.name) + len(node.address) + len(node.meta)
