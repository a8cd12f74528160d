"""The words of the Open Container Initiative, without any input or output.

`digest` (content names), `reference` (what users type), `platform`, `manifest` (manifests, indexes,
descriptors), `image` (the image configuration) and `chainid`. All of it is pure: bytes and strings in,
values out; every parser is bounded, because what it reads comes from strangers.
"""
