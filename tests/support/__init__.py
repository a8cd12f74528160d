"""What the tests share: daemons of their own, images, and proof that nothing is left behind."""
