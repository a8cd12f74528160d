"""Kist: a container platform in Python."""
