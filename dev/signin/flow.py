"""Signs somebody in: OpenID Connect's authorization code flow with PKCE, as kubelogin does.

Only the browser is missing: a few requests fill in the provider's form, as a person would.
"""

import json
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import requests
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.requests_client import OAuth2Session
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from dev.signin.people import address

SCOPES = "openid profile groups"
# Nobody listens there: the browser is ours, and stops where it would be sent back.
REDIRECT = "http://127.0.0.1:8000"
TIMEOUT_SECONDS = 10


class SignInError(Exception):
    """It did not come to a token; `str()` says why."""


def sign_in(folder: Path, name: str) -> tuple[str, datetime]:
    """Return a person's ID token, and when it expires.

    `folder` is the provider's, and says where it is and what the password is. Raises SignInError.
    """
    try:
        provider = json.loads((folder / "provider.json").read_text())
        return _sign_in(provider, str(folder / "ca.crt"), name)
    except requests.HTTPError as error:
        raise SignInError(str(error)) from error
    except OSError as error:  # requests' other errors are of these
        what = type(error).__name__
        raise SignInError(
            f"the identity provider does not answer ({what}): `make up AUTH=oidc` starts it."
        ) from error
    except (AuthlibBaseError, JoseError) as error:
        raise SignInError(str(error)) from error


def _sign_in(provider: dict[str, str], ca: str, name: str) -> tuple[str, datetime]:
    issuer, client_id = provider["issuer"], provider["clientID"]
    verifier, nonce = secrets.token_urlsafe(48), secrets.token_urlsafe(16)
    found = _json(f"{issuer}/.well-known/openid-configuration", ca)
    with OAuth2Session(
        client_id,
        scope=SCOPES,
        redirect_uri=REDIRECT,
        code_challenge_method="S256",
        token_endpoint_auth_method="none",  # noqa: S106 -- a client without a secret, as any plugin
        default_timeout=TIMEOUT_SECONDS,
    ) as client:
        client.verify, client.trust_env = ca, False
        url, state = client.create_authorization_url(
            found["authorization_endpoint"], code_verifier=verifier, nonce=nonce
        )
        back = _through_the_browser(url, ca, name, provider["password"])
        answer = client.fetch_token(
            found["token_endpoint"],
            authorization_response=back,
            state=state,
            code_verifier=verifier,
        )
    keys = KeySet.import_key_set(_json(found["jwks_uri"], ca))
    claims = jwt.decode(answer["id_token"], keys, algorithms=["RS256"]).claims
    jwt.JWTClaimsRegistry(
        iss={"essential": True, "value": issuer},
        aud={"essential": True, "value": client_id},
        nonce={"essential": True, "value": nonce},
        exp={"essential": True},
    ).validate(claims)
    return answer["id_token"], datetime.fromtimestamp(claims["exp"], UTC)


def _through_the_browser(url: str, ca: str, name: str, password: str) -> str:
    """Return where the provider sends a person who has signed in, with the code in it."""
    with _session(ca) as browser:
        form = browser.get(url, timeout=TIMEOUT_SECONDS)  # the form is sent to its own address
        form.raise_for_status()
        filled_in = {"login": address(name), "password": password}
        answer = browser.post(
            form.url, data=filled_in, allow_redirects=False, timeout=TIMEOUT_SECONDS
        )
        while not (there := answer.headers.get("Location", "")).startswith(REDIRECT):
            if not there:
                raise SignInError(f"the provider does not take the password of {address(name)}.")
            there = urljoin(answer.url, there)
            answer = browser.get(there, allow_redirects=False, timeout=TIMEOUT_SECONDS)
    return there


def _json(url: str, ca: str) -> Any:
    with _session(ca) as session:
        answer = session.get(url, timeout=TIMEOUT_SECONDS)
        answer.raise_for_status()
        return answer.json()


def _session(ca: str) -> requests.Session:
    """Return a session that trusts the provider's authority, and no proxy."""
    session = requests.Session()
    session.verify, session.trust_env = ca, False
    return session
