"""The Engine API's wire without any I/O: bodies, route table, stream frames, progress, filters."""
