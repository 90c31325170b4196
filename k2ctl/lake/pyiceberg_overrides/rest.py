"""pyiceberg's client of a REST service, whose requests end."""

from typing import Any, Final

from pyiceberg.catalog.rest import Capability, Endpoint, Endpoints, RestCatalog
from pyiceberg.catalog.rest.response import _handle_non_200_response
from pyiceberg.exceptions import AuthorizationExpiredError, NoSuchTableError, UnauthorizedError
from requests import HTTPError, PreparedRequest, Response, Session
from requests.adapters import HTTPAdapter

REST_CAPABILITIES: Final = Capability
"""What a REST service may offer, as pyiceberg names it."""


class BoundedRestCatalog(RestCatalog):
    """A catalog behind Iceberg's REST protocol, whose requests do not wait for ever.

    within_s: how long a connection, and then an answer, may take.
    """

    within_s: tuple[float, float]

    def _config_headers(self, session: Session) -> None:
        super()._config_headers(session)
        for scheme in ("http://", "https://"):
            session.mount(scheme, _BoundedAdapter(self.within_s))

    def can(self, capability: Endpoint) -> bool:
        """Whether the service offers a request."""
        return capability in self._supported_endpoints

    def in_short(self, name: str) -> dict[str, Any]:
        """What the service answers of a table, with no more snapshots than branches and tags name.

        Raises:
            NoSuchTableError: it does not know the table. RESTError, RequestException: it refuses, or does not answer.
        """
        url = self.url(Endpoints.load_table, prefixed=True, **self._split_identifier_for_path(name))
        try:
            return self._asked(url)
        except (AuthorizationExpiredError, UnauthorizedError):
            self._refresh_token()
            return self._asked(url)

    def _asked(self, url: str) -> dict[str, Any]:
        response = self._session.get(url, params={"snapshots": "refs"})
        try:
            response.raise_for_status()
        except HTTPError as error:
            _handle_non_200_response(error, {404: NoSuchTableError})
        found: dict[str, Any] = response.json()
        return found


class _BoundedAdapter(HTTPAdapter):
    """Connections whose waits end."""

    def __init__(self, within_s: tuple[float, float]) -> None:
        super().__init__()
        self._within_s = within_s

    def send(self, request: PreparedRequest, *arguments: Any, **named: Any) -> Response:
        return super().send(request, *arguments, **{**named, "timeout": named.get("timeout") or self._within_s})
