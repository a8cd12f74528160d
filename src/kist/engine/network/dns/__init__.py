"""The name service for containers on user networks, at 127.0.0.11 in each of them.

    wire.py        queries and answers as bytes; pure
    zones.py       who is called what on which network; pure
    resolver.py    the process that answers (run by `__main__.py`), one for all containers
    client.py      the server's side of it: starts it, tells it who is where

The process is not the server's: it lives on when that dies, with all that it knows, and a new server finds it by
its socket. It listens on sockets that were made inside the containers' namespaces, and asks the host's resolvers
from the host's namespace.
"""
