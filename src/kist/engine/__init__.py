"""The engine: what containers, images, volumes and networks are, and what may happen to them."""
