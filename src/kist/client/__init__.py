"""The Python SDK for Kist's server, and for Docker's daemon. The command line is built on it."""
