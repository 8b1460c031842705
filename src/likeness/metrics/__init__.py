"""Measures, one file each, each tested against its reference implementation."""
