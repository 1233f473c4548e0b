"""Whether a host elsewhere cannot be reached at all, so that waiting for it is of no use."""

from __future__ import annotations

# Where clouds give credentials to their own machines; elsewhere nobody answers there.
_METADATA_SERVERS = ("169.254.169.254", "169.254.170.2", "metadata.google.internal")
_NAME_NOT_KNOWN = ("dns error", "failed to lookup address")


def why_out_of_reach(error: BaseException) -> str:
    """What keeps a client from its host; '' if the host, or something on the way, has answered.

    Parameters
    ----------
    error : BaseException
        Of obstore, whose text has the whole chain of causes.

    Examples
    --------
    >>> why_out_of_reach(ValueError("Error performing GET ... ConnectError('dns error', ...)"))
    'the name of its host is not known here: no internet, or a wrong name'
    >>> why_out_of_reach(ValueError("Server returned non-2xx status code: 503"))
    ''
    """
    text = str(error)
    if any(server in text for server in _METADATA_SERVERS):
        return "no credentials are in the environment, and this is no machine of that cloud"
    if any(word in text for word in _NAME_NOT_KNOWN):
        return "the name of its host is not known here: no internet, or a wrong name"
    return "nobody answers at its host" if "kind: Connect," in text else ""
