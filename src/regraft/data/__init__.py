"""What the user has: a table of images from a folder, manifest or archive, and its splits."""
