"""Dialogues with protocol cores that a person can read: what is said to a core, and what it does.

`python -m tests.transcripts --rewrite` writes what the cores do now into the files; the difference is then to be reviewed.
"""
