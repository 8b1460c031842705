"""Data sets on disk: reader and writer of one layout side by side in one file."""
