"""A name server for tests, on the loopback interface: it answers SRV questions from a mapping that the test changes."""

import asyncio

import dns.flags
import dns.message
import dns.rcode
import dns.rrset


class NameServer(asyncio.DatagramProtocol):
    """`records`: name (without the last dot) to lines as in a zone file (``0 0 7946 localhost.``)."""

    def __init__(self) -> None:
        self.records: dict[str, list[str]] = {}
        self.failing = False
        self.questions = 0
        self.port = 0

    async def start(self) -> "NameServer":
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", 0))
        self._transport = transport
        self.port = transport.get_extra_info("sockname")[1]
        return self

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.questions += 1
        query = dns.message.from_wire(data)
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.RA
        question = query.question[0]
        lines = self.records.get(question.name.to_text(omit_final_dot=True))
        if self.failing:
            answer.set_rcode(dns.rcode.SERVFAIL)
        elif lines is None:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        else:
            answer.answer.append(dns.rrset.from_text(question.name, 1, "IN", "SRV", *lines))
        self._transport.sendto(answer.to_wire(), addr)

    def close(self) -> None:
        self._transport.close()
