"""The server: the Engine API over HTTP on a unix socket, in front of the engine."""
