"""Which Supabase a command works on: the environment's settings first, then the local stack's."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from jobs.errors import NotReadyError, SettingsError
from local import installation
from local.errors import NotInstalled
from local.installation import Installation

__all__ = ["SETTINGS", "Target", "find_target"]

# name in the environment -> what it is, for the sentence that asks for it
SETTINGS = {
    "SUPABASE_URL": "the address of the Supabase project",
    "SUPABASE_PUBLISHABLE_KEY": "the project's publishable key (sb_publishable_…)",
    "SUPABASE_SECRET_KEY": "the project's secret key (sb_secret_…), for the runner",
    "DATABASE_URL": "the runner's connection string (role instashare_runner)",
    "ADMIN_DATABASE_URL": "the connection string of the role postgres",
    "BACKEND_URL": "the address of InstaShare's API",
}


@dataclass(frozen=True)
class Target:
    """The settings a command found; a secret never appears in its repr.

    `values` maps names of SETTINGS (and the optional ones) to values, `foreign` tells that SUPABASE_URL names another
    stack than the data folder's, whose settings were therefore left out: keys and databases must belong together.
    """

    data_dir: Path
    values: Mapping[str, str] = field(repr=False)
    local: Installation | None = field(repr=False)
    foreign: bool

    def get(self, name: str) -> str | None:
        """The setting's value, or None when neither the environment nor the local stack has it."""
        return self.values.get(name)

    def require(self, name: str) -> str:
        """The setting's value; raises NotReadyError without any stack, SettingsError if only this is missing."""
        value = self.get(name)
        if value:
            return value
        what = SETTINGS.get(name, "a setting")
        if not self.values:
            raise NotReadyError(
                "not_installed",
                f"There is no local stack in {self.data_dir}, and {name} is not set.",
                f"Start one with `./instashare up`, or set {name} ({what}).",
            )
        raise SettingsError("setting_missing", f"{name} is not set.", f"Set it to {what}.")

    @property
    def is_local(self) -> bool:
        """Tell whether the address is that of the data folder's own stack."""
        return self.local is not None and not self.foreign


def find_target(data_dir: Path, environment: Mapping[str, str] | None = None) -> Target:
    """Collect the settings; raises StackError if the installation's file cannot be read.

    Values keep what was given but for white space around them, which a copied secret often brings along; `doctor` looks
    at the environment itself to name it.
    """
    given = os.environ if environment is None else environment
    names = [*SETTINGS, "SUPABASE_PUBLIC_URL", "SUPABASE_JWT_ISSUER", "SUPABASE_JWT_SECRET", "SUPABASE_JWT_ALLOW_HS256"]
    found = {name: given[name].strip() for name in names if given.get(name, "").strip()}
    try:
        local = installation.load(data_dir)
    except NotInstalled:
        local = None
    address = found.get("SUPABASE_URL", "").rstrip("/")
    foreign = local is not None and bool(address) and address not in _addresses(local)
    if local is not None and not foreign:
        found = {
            "SUPABASE_URL": local.supabase_url,
            "SUPABASE_PUBLISHABLE_KEY": local.secrets.publishable_key,
            "SUPABASE_SECRET_KEY": local.secrets.secret_key,
            "DATABASE_URL": local.database_url("instashare_runner"),
            "ADMIN_DATABASE_URL": local.database_url("supabase_admin"),
            "BACKEND_URL": local.backend_url,
            **found,
        }
    return Target(data_dir=data_dir, values=found, local=local, foreign=foreign)


def _addresses(local: Installation) -> tuple[str, str]:
    return local.supabase_url, local.supabase_url.replace("127.0.0.1", "localhost")
