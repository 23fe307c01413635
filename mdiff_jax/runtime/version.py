"""The version of the package, below all that records it."""

VERSION = "0.1.0"
