"""What goes into an exported model and what comes out: names, in the order of the outputs."""

from __future__ import annotations

PIXELS = "pixels"
PROBABILITIES, FEATURES = "probabilities", "features"
MEANINGS = {
    PROBABILITIES: "calibrated, in the order of labels.json; each row sums to 1",
    FEATURES: "what the head sees of the picture: for search by example, and for what is unlike",
}
# A new output goes to the end: programs read the first ones by their place.
OUTPUTS = tuple(MEANINGS)
