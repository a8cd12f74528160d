"""The distribution API, `/v2/…`: one file per noun, the route table in `routes.py`."""
