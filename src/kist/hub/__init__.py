"""The Hub: a registry server with web pages (OCI distribution 1.1).

    server.py     uvicorn, blobs leave by sendfile        app.py      routes → Starlette
    v2/           the distribution API, one file a noun    content.py  the stories: push, pull, delete
    blobs.py      bytes by digest: disk and memory         metadata.py names, tags, links: SQLite and memory
    publish.py    writing into a data folder without a server

`python -m kist.hub --data DIR` runs it.
"""
