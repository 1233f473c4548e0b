"""What may say the labels of images.

``folder``: the folders, or a manifest, as they are understood; ``top``: the first folder, below the
split; ``parent``: the folder that holds the image; ``name``: the name of the file.
"""

LABEL_SOURCES = ("folder", "top", "parent", "name")
