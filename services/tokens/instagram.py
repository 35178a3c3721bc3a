"""Instagram's OAuth and account endpoints, as https://developers.facebook.com/docs/instagram-platform has them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import SecretStr

from services.common.graph import GraphClient
from services.tokens import answers
from services.tokens.accounts import Fresh, Grant, Profile


@dataclass(frozen=True, slots=True)
class App:
    """The Meta app that we are: its Instagram app id and secret."""

    client_id: str
    client_secret: SecretStr
    token_url: str
    version: str


class GraphInstagram:
    """The ports Grants and Instagram over HTTP. `client`'s base is GRAPH_URL, without a version."""

    def __init__(self, client: GraphClient, app: App) -> None:
        """Use the given client on behalf of the app."""
        self.client = client
        self.app = app

    async def exchange(self, code: str, redirect_uri: str) -> Grant:
        """Trade an OAuth code for a token of an hour: a form, and its own address."""
        form = {
            "client_id": self.app.client_id,
            "client_secret": self.app.client_secret.get_secret_value(),
            "grant_type": "authorization_code",
            "redirect_uri": redirect_uri,
            "code": code,
        }
        return answers.grant((await self.client.post_form(self.app.token_url, form)).body)

    async def lengthen(self, token: str) -> Fresh:
        """Trade a token of an hour for one of sixty days. The path has no version."""
        params = {
            "grant_type": "ig_exchange_token",
            "client_secret": self.app.client_secret.get_secret_value(),
            "access_token": token,
        }
        return answers.fresh((await self.client.get("access_token", params)).body)

    async def refresh(self, token: str) -> Fresh:
        """Trade a token of sixty days for another sixty. The path has no version."""
        params = {"grant_type": "ig_refresh_token", "access_token": token}
        return answers.fresh((await self.client.get("refresh_access_token", params)).body)

    async def profile(self, token: str) -> Profile:
        """Read whose token it is."""
        params = {"fields": "id,user_id,username"}
        return answers.profile((await self.client.get(self._path("me"), params, token=token)).body)

    async def look_at_messages(self, token: str) -> None:
        """Read one conversation: that needs what sending needs, and changes nothing."""
        params = {"platform": "instagram", "limit": "1"}
        await self.client.get(self._path("me/conversations"), params, token=token)

    async def subscribe(self, token: str, fields: Sequence[str]) -> None:
        """Ask for webhooks of these fields."""
        params = {"subscribed_fields": ",".join(fields)}
        await self.client.post_query(self._path("me/subscribed_apps"), params, token=token)

    async def subscribed(self, token: str) -> tuple[str, ...]:
        """Read which fields' webhooks are sent: Meta leaves out silently what the app's dashboard has not ticked."""
        answer = await self.client.get(self._path("me/subscribed_apps"), {}, token=token)
        return answers.fields(answer.body, self.app.client_id)

    async def unsubscribe(self, token: str) -> None:
        """Ask for no more webhooks."""
        await self.client.delete(self._path("me/subscribed_apps"), token=token)

    def _path(self, rest: str) -> str:
        return f"{self.app.version}/{rest}"
