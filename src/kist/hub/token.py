"""`/token`: the token server that a 401's challenge names (distribution's token and OAuth 2 forms).

    GET  /token?service=HOST&scope=repository:NAME:pull,push      Basic, or nobody
    POST /token   grant_type=password&username=&password=&scope=  (containerd)
    POST /token   grant_type=refresh_token&refresh_token=&scope=  the refresh token is a personal access token
"""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from kist.hub.access import AccountAccess
from kist.hub.accounts import TooManyTries, User
from kist.hub.bearer import parse_scopes
from kist.hub.errors import HubError
from kist.hub.hub import hub_of, in_thread
from kist.hub.v2.bodies import receive_bounded

LIFE = 300.0  # seconds; so long a permission that was taken away may still be used
MAX_FORM = 64 << 10


async def token(request: Request) -> Response:
    access = hub_of(request).access
    request.scope["kist.route"] = "token"
    if not isinstance(access, AccountAccess):
        return JSONResponse(HubError("UNSUPPORTED", "this Hub has no accounts").body, 404)
    try:
        if request.method == "POST":
            return await _by_form(request, access)
        user = await in_thread(access.user, request)
        return await in_thread(_issued, access, user, request.query_params.getlist("scope"))
    except HubError as error:
        headers = {name: value for name, value in error.headers.items() if name != "WWW-Authenticate"}
        return JSONResponse(error.body, error.status, headers)


async def _by_form(request: Request, access: AccountAccess) -> Response:
    body = await receive_bounded(request, MAX_FORM, HubError("SIZE_INVALID", "the form is too long", status=413))
    form = {key: values[-1] for key, values in parse_qs(body.decode("utf-8", "replace")).items()}
    user = await in_thread(_user_of_form, request, access, form)
    if user is None:
        raise HubError("UNAUTHORIZED", "incorrect username or password")
    return await in_thread(_issued, access, user, [form.get("scope", "")], form.get("refresh_token", ""))


def _user_of_form(request: Request, access: AccountAccess, form: dict[str, str]) -> User | None:
    if form.get("grant_type") == "refresh_token":
        return access.accounts.by_token(form.get("refresh_token", ""))
    if form.get("grant_type") != "password":
        raise HubError("UNSUPPORTED", "unknown grant_type", status=400)
    try:
        return access.accounts.sign_in(form.get("username", ""), form.get("password", ""),
                                       request.client.host if request.client else "")
    except TooManyTries:
        raise HubError("TOOMANYREQUESTS", "too many wrong passwords: wait some minutes") from None


def _issued(access: AccountAccess, user: User | None, scopes: list[str], refresh: str = "") -> Response:
    issued = access.issue(user, parse_scopes(scopes), LIFE)
    body: dict[str, object] = {"token": issued, "access_token": issued, "expires_in": int(LIFE),
                               "issued_at": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")}
    if refresh:
        body["refresh_token"] = refresh
    return JSONResponse(body, headers={"Cache-Control": "no-store"})
