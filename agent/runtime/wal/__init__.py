"""The write-ahead log and the snapshots on a real disk, written by threads so that the loop never waits for it; and in memory."""
