"""A model on disk: saved whole, loaded without running any code, refused if anything is wrong.

The folder holds three files. ``model.safetensors`` is the network under timm's names, and nothing
else: timm refuses a file with tensors that the network does not have. ``regraft.safetensors``
holds what was learnt beside it: ``head.*``, ``representation.*``, ``unknown.*``, and under
``network.*`` those tensors of the original network that the learnt classifier replaced.
``config.json`` holds the rest and the digests of all three.

The original network is therefore ``model.safetensors`` with the ``network.*`` tensors put back
under their own names; the digest of the result is ``Classifier.info.weights_digest``.
"""

from regraft.model.loading import load
from regraft.model.saving import save

__all__ = ["load", "save"]
