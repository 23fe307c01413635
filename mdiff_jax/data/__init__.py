"""Reading of recordings as windows with user, recording and index, and writing of windows to files."""
