"""Measures of pictures, identities, poses and depths: one file each, each held to a reference implementation."""
