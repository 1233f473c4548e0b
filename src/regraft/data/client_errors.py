"""What a client of object stores says when it fails, in a line of our own words."""

from __future__ import annotations

import re

ABSENT = "there is no such object"
SLOW = "it did not come whole within a minute"
NO_PARTS = "the server gives whole objects only, and no parts of them"
CUT = "the connection ended before all of it came"


def in_words(error: BaseException) -> str:
    """An error of the client in one line, without what it knows of the request.

    Examples
    --------
    >>> in_words(FileNotFoundError("Object at location a.jpg not found: ..."))
    'there is no such object'
    >>> in_words(ValueError("Generic S3 error: Error performing GET http://h/b/a in 3ms - "
    ...                     "Server returned non-2xx status code: 403 Forbidden: <Key>"))
    'permission denied (403)'
    """
    text = str(error).partition("\n")[0]
    if "kind: Timeout," in str(error):
        return SLOW
    found = re.search(r"status code: (\d{3})", text)
    code = found[1] if found else ""
    if isinstance(error, FileNotFoundError) or code == "404":
        return ABSENT
    is_refused = type(error).__name__ in ("PermissionDeniedError", "UnauthenticatedError")
    if is_refused or code in ("401", "403"):
        return "permission denied" + (f" ({code})" if code else "")
    if code:
        return f"the server said {code}"
    short = re.sub(r"https?://\S+", "...", text.rpartition(" - ")[2] or text)
    known = {
        "range request not supported": NO_PARTS,
        "redirect": "too many redirects",
        "account must be specified": "no storage account is named",
        "credential": "no credentials were found",
        "timed out": "it timed out",
        "error sending request": "no connection, or it was reset",
        "response body": CUT,
        "incomplete": CUT,
        "got": CUT,
    }
    for word, said in known.items():
        if word in text.lower():
            return said
    return short[:160] or type(error).__name__
