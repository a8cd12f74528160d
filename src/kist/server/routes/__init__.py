"""Handlers, one module per noun: decode the request, call the engine, encode its answer; nothing else."""
