"""The write-ahead log without a disk: records, segments, what a crash may leave of them, and how to go on from there."""
