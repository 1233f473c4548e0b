"""A folder that is taught by hand: what is done to it, kept in a journal, and what it learns."""
