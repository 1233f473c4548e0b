"""What may say the labels of images: folders (or a manifest), or the names of the files."""

LABEL_SOURCES = ("folder", "name")
