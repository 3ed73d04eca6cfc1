"""LZW as Go's compress/lzw writes and reads it with LSB order and 8-bit literals: what memberlist compresses with.

Codes start 9 bits wide and grow to 12. 256 clears the table, 257 ends the data. (GIF89a, appendix F, is the nearest to a standard.)
"""

from typing import Final

from agent.core.swim.errors import WireError

CLEAR: Final = 256
END: Final = 257
CODE_MAX: Final = 4095
WIDTH_MAX: Final = 12


def compress(data: bytes) -> bytes:
    """The same octets that Go's `lzw.Writer` makes of `data`."""
    out = bytearray()
    bits = CLEAR
    bit_count = 9
    width = 9
    high = END
    overflow = 512
    table: dict[int, int] = {}
    code = -1
    for octet in data:
        if code < 0:
            code = octet
            continue
        key = code << 8 | octet
        longer = table.get(key)
        if longer is not None:
            code = longer
            continue
        bits |= code << bit_count
        bit_count += width
        code = octet
        high += 1
        if high == overflow:
            width += 1
            overflow <<= 1
        if high == CODE_MAX:
            bits |= CLEAR << bit_count
            bit_count += width
            width, high, overflow = 9, END, 512
            table.clear()
        else:
            table[key] = high
        while bit_count >= 8:
            out.append(bits & 0xFF)
            bits >>= 8
            bit_count -= 8
    if code >= 0:
        bits |= code << bit_count
        bit_count += width
        high += 1
        if high == overflow:
            width += 1
        if high == CODE_MAX:
            bits |= CLEAR << bit_count
            bit_count += width
            width = 9
    bits |= END << bit_count
    bit_count += width
    out += bits.to_bytes((bit_count + 7) // 8, "little")
    return bytes(out)


def decompress(data: bytes, bytes_max: int) -> bytes:
    """What Go's `lzw.Reader` reads of `data`. Raises `WireError` where that is more than `bytes_max`, or where `data` is not whole.

    Every entry of the table is a stretch of what is already written, so the table costs two integers an entry however long the
    stretches grow.
    """
    out = bytearray()
    starts = [0] * (CODE_MAX + 1)
    lengths = [0] * (CODE_MAX + 1)
    bits = bit_count = at = 0
    width, high, overflow = 9, END, 512
    last_start = last_length = -1
    size = len(data)
    while True:
        while bit_count < width:
            if at == size:
                raise WireError("truncated", "compressed data without an end")
            bits |= data[at] << bit_count
            bit_count += 8
            at += 1
        code = bits & ((1 << width) - 1)
        bits >>= width
        bit_count -= width
        here = len(out)
        if code < CLEAR:
            out.append(code)
            length = 1
        elif code == CLEAR:
            width, high, overflow = 9, END, 512
            last_start = -1
            continue
        elif code == END:
            return bytes(out)
        elif code < high or (code == high and last_start < 0 and lengths[code]):
            length = lengths[code]
            if here + length > bytes_max:
                raise WireError("too_large", f"compressed data expands beyond {bytes_max} bytes")
            out += out[starts[code] : starts[code] + length]
        elif code == high and last_start >= 0:
            length = last_length + 1
            out += out[last_start : last_start + last_length]
            out.append(out[last_start])
        else:
            raise WireError("malformed", f"compressed data holds code {code}, above {high}")
        if len(out) > bytes_max:
            raise WireError("too_large", f"compressed data expands beyond {bytes_max} bytes")
        if last_start >= 0:
            starts[high] = last_start
            lengths[high] = last_length + 1
        last_start, last_length = here, length
        high += 1
        if high >= overflow:
            if width == WIDTH_MAX:
                last_start = -1
                high -= 1
            else:
                width += 1
                overflow <<= 1
    raise AssertionError
