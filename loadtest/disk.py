"""What a durable write costs on a disk, by how the file was made ready for it.

    python -m loadtest.disk FOLDER [--writes 1000] [--rounds 3]

The ways take turns, so that what else the machine does falls on all of them.
"""

import argparse
import os
import statistics
import time
from pathlib import Path

READY = ("append", "fallocate", "zeros", "ahead")
"""append: the file grows with each write. fallocate: 64 MiB allocated, not written. zeros: 64 MiB of zeros written.
ahead: zeros are written with the record that comes to the end of them, 1 MiB at a time."""
MIB = 1 << 20


def measure(path: Path, ready: str, one_call: bool, size: int, writes: int) -> list[float]:
    """Seconds of each write."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        if ready == "fallocate":
            os.posix_fallocate(file, 0, 64 * MIB)
        elif ready == "zeros":
            for number in range(64):
                os.pwrite(file, bytes(MIB), number * MIB)
        os.fsync(file)
        record, offset, filled, took = os.urandom(size), 0, 0, []
        for _ in range(writes):
            data = record
            if ready == "ahead" and offset + size > filled:
                filled = offset + size + MIB
                data = record + bytes(MIB)
            began = time.perf_counter()
            if one_call:
                os.pwritev(file, [data], offset, os.RWF_DSYNC)
            else:
                os.pwrite(file, data, offset)
                os.fdatasync(file)
            took.append(time.perf_counter() - began)
            offset += size
        return took
    finally:
        os.close(file)
        path.unlink()


def main() -> None:
    parser = argparse.ArgumentParser(description="what a durable write costs")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--writes", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    print(f"{'octets':>7} {'file':10} {'call':10} {'p50 ms':>8} {'p99 ms':>8} {'mean ms':>8}")
    for size in (200, 4096, 20000):
        found: dict[tuple[str, bool], list[float]] = {}
        for _ in range(args.rounds):
            for ready in READY:
                for one_call in (False, True):
                    took = measure(args.folder / "measured.tmp", ready, one_call, size, args.writes)
                    found.setdefault((ready, one_call), []).extend(took)
        for (ready, one_call), all_took in found.items():
            all_took.sort()
            p50, p99 = (all_took[int(len(all_took) * share)] * 1000 for share in (0.5, 0.99))
            call = "RWF_DSYNC" if one_call else "fdatasync"
            print(f"{size:>7} {ready:10} {call:10} {p50:>8.3f} {p99:>8.3f} {statistics.mean(all_took) * 1000:>8.3f}")


if __name__ == "__main__":
    main()
