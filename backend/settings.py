"""What the API must be told: the environment, read once and checked at start."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Self
from urllib.parse import urlsplit

from pydantic import SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

__all__ = ["Settings", "SettingsError", "read_settings"]


class SettingsError(Exception):
    """A setting is missing or cannot be right."""


class Settings(BaseSettings):
    """The API's settings, each from the environment variable of its name in capitals.

    `supabase_public_url` is where clients reach Storage (default: `supabase_url`). `supabase_jwt_issuer` is `iss` of
    users' tokens (default: `<supabase_url>/auth/v1`). `cors_origins` are separated by commas. `supabase_jwt_secret`
    counts only with `supabase_jwt_allow_hs256`: for projects that still sign with a shared secret.
    """

    model_config = SettingsConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    supabase_url: str
    supabase_publishable_key: str
    supabase_public_url: str = ""
    supabase_jwt_issuer: str = ""
    supabase_jwt_secret: SecretStr | None = None
    supabase_jwt_allow_hs256: bool = False
    cors_origins: str = ""

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name in ("supabase_url", "supabase_public_url"):
            value = getattr(self, name)
            parts = urlsplit(value)
            if value and (parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment):
                raise ValueError(f"{name.upper()} must be an address such as https://<ref>.supabase.co")
        if not self.supabase_url or not self.supabase_publishable_key:
            raise ValueError("SUPABASE_URL and SUPABASE_PUBLISHABLE_KEY must not be empty")
        key = self.supabase_publishable_key
        if key.startswith("sb_secret_") or _legacy_role(key) == "service_role":
            raise ValueError("SUPABASE_PUBLISHABLE_KEY holds a secret key: the API must be given none")
        if self.supabase_jwt_allow_hs256:
            secret = self.supabase_jwt_secret.get_secret_value() if self.supabase_jwt_secret else ""
            if len(secret) < 32:
                raise ValueError("SUPABASE_JWT_ALLOW_HS256 needs SUPABASE_JWT_SECRET of 32 characters or more")
        return self

    @property
    def base_url(self) -> str:
        """SUPABASE_URL without a slash at its end."""
        return self.supabase_url.rstrip("/")

    @property
    def public_url(self) -> str:
        """Where clients reach Supabase, without a slash at its end."""
        return (self.supabase_public_url or self.supabase_url).rstrip("/")

    @property
    def issuer(self) -> str:
        """What `iss` must be."""
        return self.supabase_jwt_issuer or f"{self.base_url}/auth/v1"

    @property
    def hs256_secret(self) -> str | None:
        """The shared secret, only where HS256 was allowed explicitly."""
        allowed = self.supabase_jwt_allow_hs256 and self.supabase_jwt_secret is not None
        return self.supabase_jwt_secret.get_secret_value() if allowed and self.supabase_jwt_secret else None

    @property
    def origins(self) -> list[str]:
        """The web origins that may call the API."""
        return [origin.strip().rstrip("/") for origin in self.cors_origins.split(",") if origin.strip()]


def read_settings() -> Settings:
    """Read the environment; raises SettingsError with one line a fault, and no value."""
    try:
        return Settings()  # type: ignore[call-arg]  # pydantic fills it from the environment
    except ValidationError as error:
        faults = []
        for one in error.errors(include_input=False):
            name = ".".join(str(part) for part in one["loc"]).upper()
            faults.append(f"{name}: {one['msg']}" if name else one["msg"].removeprefix("Value error, "))
        raise SettingsError("\n".join(faults)) from None


def _legacy_role(key: str) -> str | None:
    """The role inside a legacy API key, which is a JWT; None for any other text."""
    try:
        payload = key.split(".")[1]
        role = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["role"]
    except (IndexError, KeyError, ValueError, TypeError, binascii.Error):
        return None
    return str(role)
