"""Recordings in, spectrograms with user, recording and index out; and back to files."""
