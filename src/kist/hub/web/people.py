"""Signing in and out, and what somebody signed in may set: access tokens, the password, an organisation's members."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response

from kist.errors import InvalidParameter, KistError
from kist.hub.access import SESSION_COOKIE, AccountAccess
from kist.hub.accounts import SESSION_LIFE, Accounts, Level, TooManyTries, User
from kist.hub.errors import HubError
from kist.hub.hub import hub_of, in_thread
from kist.hub.web.render import form, moved, page

_DAY = 86400.0
TOO_MANY = "Too many wrong passwords. Wait some minutes, then try again."


def _access(request: Request) -> AccountAccess:
    access = hub_of(request).access
    if not isinstance(access, AccountAccess):
        raise HubError("NAME_UNKNOWN", "this Hub has no accounts")
    return access


def _accounts(request: Request) -> Accounts:
    return _access(request).accounts


async def sign_in(request: Request) -> Response:
    accounts = _accounts(request)
    target = _own_path(request.query_params.get("next", "/"))
    if request.method != "POST":
        return await page(request, "signin.html", problem="", name="", target=target)
    fields = await form(request)
    name, password = fields.get("name", "")[:100], fields.get("password", "")
    target = _own_path(fields.get("next", target))
    status, problem = 401, "The name or the password is not right."
    try:
        user = await in_thread(accounts.by_password, name, password, _origin(request))
    except TooManyTries:
        user, status, problem = None, 429, TOO_MANY
    if user is None:
        if await in_thread(accounts.by_token, password):
            problem = "An access token can't be used here: it is for docker login and machines."
        answer = await page(request, "signin.html", status, problem=problem, name=name, target=target)
        answer.headers.update({"Retry-After": "300"} if status == 429 else {})
        return answer
    await in_thread(accounts.close_session, request.cookies.get(SESSION_COOKIE, ""))  # the one before is over
    answer = moved(target)
    answer.set_cookie(SESSION_COOKIE, await in_thread(accounts.open_session, user), max_age=int(SESSION_LIFE),
                      httponly=True, samesite="lax", secure=request.url.scheme == "https")
    return answer


def _origin(request: Request) -> str:
    return request.client.host if request.client else ""


async def sign_out(request: Request) -> Response:
    accounts = _accounts(request)
    await form(request)
    await in_thread(accounts.close_session, request.cookies.get(SESSION_COOKIE, ""))
    answer = moved("/")
    answer.delete_cookie(SESSION_COOKIE)
    return answer


async def settings(request: Request) -> Response:
    accounts = _accounts(request)
    user = await in_thread(_access(request).session, request)
    if user is None:
        return moved("/signin?next=/settings")
    secret = problem = done = ""
    if request.method == "POST":
        fields = await form(request)
        try:
            secret, done = await in_thread(_change, accounts, user, fields, _origin(request))
        except KistError as error:
            problem = str(error)
        except TooManyTries:
            problem = TOO_MANY
    return await page(request, "settings.html", 400 if problem else 200, user=user, secret=secret, problem=problem,
                      done=done, tokens=await in_thread(accounts.tokens, user),
                      organisations=await in_thread(accounts.organisations_of, user))


def _change(accounts: Accounts, user: User, fields: Mapping[str, str], origin: str) -> tuple[str, str]:
    """(a new token's secret, what was done)"""
    act = fields.get("act", "")
    if act == "add-token":
        level = Level.parse(fields.get("level", "read"))
        life = _life(fields.get("days", "").strip())
        return accounts.add_token(user, fields.get("label", "").strip(), level, life=life), ""
    if act == "remove-token":
        accounts.remove_token(user, fields.get("id", ""))
        return "", "The token is gone."
    if act == "password":
        if accounts.by_password(user.name, fields.get("old", ""), origin) is None:
            raise InvalidParameter("The old password is not right.")
        accounts.set_password(user.name, fields.get("new", ""))
        return "", "The password is changed. Sign in again."
    raise InvalidParameter("Nothing to do.")


def _life(days: str) -> float | None:
    """Seconds; nothing means without an end, and what is no number must not mean that."""
    if not days:
        return None
    if not days.isascii() or not days.isdigit() or len(days) > 4 or not int(days):
        raise InvalidParameter("The days must be a number from 1 to 9999, or nothing.")
    return int(days) * _DAY


async def organisation(request: Request) -> Response:
    """Who is in an organisation; for those who look after it."""
    accounts, name = _accounts(request), request.path_params["name"]
    user = await in_thread(_access(request).session, request)
    if user is None or not await in_thread(_looks_after, accounts, user, name):
        raise HubError("NAME_UNKNOWN")
    problem = ""
    if request.method == "POST":
        fields = await form(request)
        try:
            await in_thread(accounts.set_member, name, fields.get("user", "").strip(),
                            Level.parse(fields.get("level", "")))
            return moved(f"/o/{name}")
        except KistError as error:
            problem = str(error)
    return await page(request, "organisation.html", 400 if problem else 200, name=name, problem=problem,
                      members=await in_thread(accounts.members, name), Level=Level)


def _looks_after(accounts: Accounts, user: User, name: str) -> bool:
    if name not in accounts.organisations():
        return False
    return user.admin or accounts.organisations_of(user).get(name) is Level.ADMIN


def _own_path(target: str) -> str:
    """A path of ours; anything else (another site, a trick with slashes) is the front page."""
    return target if target.startswith("/") and not target.startswith(("//", "/\\")) else "/"
