"""Which handler answers what: `/v1/<resource>`, `/v1/<resource>/<name>`, `/v1/<resource>/<name>/<action>`."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from agent.state.call import Call
from agent.state.errors import ApiError
from agent.state.plan import unescape

if TYPE_CHECKING:
    from agent.state.api import StateApi

Handler = Callable[["StateApi", Call], None]

ALL: Final = ""
ONE: Final = "{name}"
NAME_BYTES_MAX: Final = 4_096


class Route:
    """One operation. count: requests. error: there is no such operation, this is the answer."""

    __slots__ = ("count", "endless", "error", "handler", "label")

    def __init__(self, label: str, handler: Handler | None, error: ApiError | None = None, *, endless: bool = False) -> None:
        self.endless = endless
        self.label = label
        self.handler: Any = handler
        self.error = error
        self.count = 0


class Router:
    def __init__(self) -> None:
        self.routes: dict[tuple[bytes, str], dict[str, Route]] = {}
        """By resource and shape (`ALL`, `ONE`, or `{name}/action`), then by method."""
        self._paths: set[bytes] = set()

    def add(self, method: str, resource: str, shape: str, handler: Handler, *, whole_path: bool = False, endless: bool = False) -> None:
        """whole_path: the name is the whole rest of the path, slashes and all. endless: the answer is a stream; HEAD has no use for it."""
        key = (resource.encode("ascii"), shape)
        label = f"{method} /v1/{resource}" + (f"/{shape}" if shape else "")
        self.routes.setdefault(key, {})[method] = Route(label, handler, endless=endless)
        if whole_path:
            self._paths.add(key[0])

    def find(self, method: str, path: bytes) -> tuple[Route, bytes]:
        """The route of a request, and the name in its path. Raises ApiError where the path cannot be understood."""
        if path[:4] != b"/v1/":
            return self._none(404, "not_found", f"no {path[:60].decode('latin-1')} here; paths begin with /v1/ (GET /v1/openapi.json)"), b""
        resource, _, rest = path[4:].partition(b"/")
        name = b""
        shape = ALL
        if rest:
            shape = ONE
            if resource not in self._paths:
                rest, _, action = rest.partition(b"/")
                if action:
                    shape = f"{ONE}/{action[:32].decode('latin-1')}"
            name = unescape(rest)
            if len(name) > NAME_BYTES_MAX:
                raise ApiError(413, "too_large", f"a name of {len(name)} octets", "no")
        methods = self.routes.get((resource, shape))
        if methods is None:
            return self._none(404, "not_found", f"no {path[:60].decode('latin-1')} here (GET /v1/openapi.json)"), b""
        route = methods.get(method)
        if route is None and method == "HEAD":
            route = methods.get("GET")
            if route is not None and route.endless:
                route = None
        if route is None:
            allow = ", ".join(sorted(methods))
            return self._none(405, "method_not_allowed", f"{method} is not for this path; {allow} are", allow), b""
        return route, name

    def _none(self, status: int, code: str, detail: str, allow: str = "") -> Route:
        more = {"allow": allow} if allow else {}
        return Route("", None, ApiError(status, code, detail, "no", **more))
