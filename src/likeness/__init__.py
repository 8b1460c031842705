"""Neural likenesses of people: five published methods under one roof."""

__version__ = "0.1.0"
