"""A name server for tests, on the loopback interface: it answers from a mapping that the test changes."""

import asyncio

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset


class NameServer(asyncio.DatagramProtocol):
    """`records`: name (without the last dot) to lines as in a zone file (``0 0 7946 localhost.``)."""

    def __init__(self) -> None:
        self.records: dict[str, list[str]] = {}
        """SRV."""
        self.typed: dict[tuple[str, str], list[str]] = {}
        """Name and type to lines, for names that are asked for by type; what has another type has no such record."""
        self.failing = False
        self.questions = 0
        self.port = 0

    async def start(self, port: int = 0) -> "NameServer":
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", port))
        self._transport = transport
        self.port = transport.get_extra_info("sockname")[1]
        return self

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.questions += 1
        query = dns.message.from_wire(data)
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.RA
        question = query.question[0]
        name, kind = question.name.to_text(omit_final_dot=True), dns.rdatatype.to_text(question.rdtype)
        lines = self.typed.get((name, kind)) or (self.records.get(name) if kind == "SRV" else None)
        if lines is None and any(known == name for known, _ in self.typed):
            lines = []
        if self.failing:
            answer.set_rcode(dns.rcode.SERVFAIL)
        elif lines is None:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        elif lines:
            answer.answer.append(dns.rrset.from_text(question.name, 1, "IN", kind, *lines))
        self._transport.sendto(answer.to_wire(), addr)

    def close(self) -> None:
        self._transport.close()
