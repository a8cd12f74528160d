"""Records → the Engine API's JSON. Pure."""
