"""Where a model looks: maps over a picture of what speaks for a class.

`explainer.explainer_for` takes the best of three ways that a model allows: an exact decomposition
of its score over positions (`cam`), its gradient (`gradcam`), or what happens when parts of the
picture are hidden (`occlusion`). `drawing.overlay` lays a map over its picture.
"""
