"""A loaded model behind HTTP: routes, limits, who may ask, a bounded queue, and the page."""
