"""Compare the transcripts with the cores, or write them again."""

import argparse
import sys

from tests.transcripts import pbft_rig, raft_rig, swim_rig


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.transcripts")
    parser.add_argument("--rewrite", action="store_true", help="write what the cores do now into the files")
    rewrite = parser.parse_args().rewrite
    differ = 0
    for rig in (pbft_rig, raft_rig, swim_rig):
        for path in sorted(rig.FOLDER.glob("*.txt")):
            before = path.read_text(encoding="utf-8")
            after = rig.replay(before)
            if after != before:
                differ += 1
                print(f"{path.name}: {'rewritten' if rewrite else 'differs'}")
                if rewrite:
                    path.write_text(after, encoding="utf-8")
    return 1 if differ and not rewrite else 0


if __name__ == "__main__":
    sys.exit(main())
