"""The library: recipes for the images that every Hub can hold without asking anybody.

`recipes.py` lists them; each is built from Debian packages into an OCI image layout, without a
running container engine, and twice with the same digest. How to add one: docs/library.md.
"""
