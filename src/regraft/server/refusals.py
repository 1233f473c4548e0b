"""What a request is refused with: a status, the rule with both values, and the cure, as JSON."""

from __future__ import annotations

from typing import Any

from starlette.responses import JSONResponse

# The connection was closed by who asked; nothing can be sent any more.
CLIENT_LEFT = 499


class Refusal(Exception):  # noqa: N818 - it is no error of ours
    """A request that is not answered.

    Parameters
    ----------
    status : int
        Of HTTP.
    rule : str
        What was expected and what came.
    cure : str
        What to do about it.
    retry_after_s : int, optional
        When to ask again.
    **facts
        Members of the answer beside these.
    """

    def __init__(
        self,
        status: int,
        rule: str,
        *,
        cure: str = "",
        retry_after_s: int | None = None,
        headers: dict[str, str] | None = None,
        **facts: Any,
    ) -> None:
        super().__init__(rule)
        self.status, self.rule, self.cure, self.facts = status, rule, cure, facts
        self.headers = dict(headers or {})
        if retry_after_s is not None:
            self.headers["Retry-After"] = str(retry_after_s)

    def response(self, request_id: str) -> JSONResponse:
        """``{"error": rule, "cure": ..., "request_id": ...}``."""
        content = {"error": self.rule, **({"cure": self.cure} if self.cure else {}), **self.facts}
        return JSONResponse({**content, "request_id": request_id}, self.status, self.headers)


class ClientLeft(Exception):  # noqa: N818
    """Who asked has closed the connection."""
