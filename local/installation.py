"""One installation of the local stack: its folder, ports and secrets, kept in one private file."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import secrets
import socket
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from local.disk import find_full_disk
from local.errors import NotInstalled, StackError
from local.signing_key import new_signing_key

__all__ = [
    "DEFAULT_STORAGE_LIMIT",
    "DemoUser",
    "Installation",
    "Ports",
    "Secrets",
    "choose_ports",
    "create",
    "free_port",
    "is_free",
    "load",
    "save",
]

FILE = "installation.json"
DEFAULT_STORAGE_LIMIT = 6 * 1024**3
OWN_POSTGRES = "postgres"  # within the data folder, but for root
ROOT_DATA = Path("/var/lib/instashare")
ROLES = (
    "supabase_admin",
    "postgres",
    "authenticator",
    "supabase_auth_admin",
    "supabase_storage_admin",
    "instashare_runner",
)
DEMO_USERS = (
    ("admin@instashare.test", "admin", "Alex", "Admin"),
    ("ana@instashare.test", "member", "Ana", "Almeida"),
    ("luis@instashare.test", "member", "Luis", "Lopes"),
)


@dataclass(frozen=True)
class Ports:
    """TCP ports on 127.0.0.1. `rest_admin` is PostgREST's readiness port; 0 is not chosen yet."""

    gateway: int
    backend: int
    postgres: int
    rest: int
    rest_admin: int
    auth: int
    web: int


@dataclass(frozen=True)
class Secrets:
    """What only this installation knows.

    `signing_key` is a private EC P-256 JWK with `kid` and `alg` ES256. `jwt_secret` signs Storage's URLs (HS256),
    `auth_secret` is known to Auth and the gateway only. `passwords` maps a database role to its password (hex, so
    that it can stand in a URL).
    """

    publishable_key: str
    secret_key: str
    jwt_secret: str
    auth_secret: str
    signing_key: dict[str, str]
    passwords: dict[str, str]


@dataclass(frozen=True)
class DemoUser:
    """An account that the first start makes. `role` is a name of `public.roles`."""

    email: str
    password: str
    role: str
    first_name: str
    last_name: str


@dataclass(frozen=True)
class Installation:
    """Everything that the services of one data folder share; `storage_limit` is Storage's global limit in bytes.

    `web` is how the web client is served: `built`, from its sources (`dev`), or not at all (`none`).
    """

    data_dir: Path
    ports: Ports
    secrets: Secrets
    confirm_email: bool
    storage_limit: int
    schema_file: Path | None
    postgres_data: Path
    demo_users: tuple[DemoUser, ...]
    web: str = "built"

    @property
    def supabase_url(self) -> str:
        """Base address of Auth, REST and Storage, as clients use it."""
        return f"http://127.0.0.1:{self.ports.gateway}"

    @property
    def backend_url(self) -> str:
        """Base address of the slim API."""
        return f"http://127.0.0.1:{self.ports.backend}"

    @property
    def web_url(self) -> str | None:
        """Address of the web client; None where it is not served."""
        return None if self.web == "none" or self.schema_file else f"http://127.0.0.1:{self.ports.web}"

    @property
    def auth_issuer(self) -> str:
        """`iss` of every token, as on a hosted project."""
        return f"{self.supabase_url}/auth/v1"

    @property
    def log_dir(self) -> Path:
        """Folder of one log file a service."""
        return self.data_dir / "log"

    @property
    def mail_dir(self) -> Path:
        """Folder of the mails that Auth would have sent."""
        return self.data_dir / "mail"

    @property
    def storage_dir(self) -> Path:
        """Folder of the stored objects' bytes."""
        return self.data_dir / "storage"

    def database_url(self, role: str, database: str = "postgres") -> str:
        """Connection string of a role of this installation; raises KeyError for any other role."""
        return f"postgresql://{role}:{self.secrets.passwords[role]}@127.0.0.1:{self.ports.postgres}/{database}"


def load(data_dir: Path) -> Installation:
    """Read the installation of a data folder.

    Raises NotInstalled if there is none, StackError if its file cannot be read or understood.
    """
    data_dir = data_dir.resolve()
    file = data_dir / FILE
    try:
        kept = json.loads(file.read_text())
        return Installation(
            data_dir=data_dir,
            ports=Ports(**{"web": 0, **kept["ports"]}),  # an installation older than the web client has none
            secrets=Secrets(**kept["secrets"]),
            confirm_email=bool(kept["confirm_email"]),
            storage_limit=int(kept["storage_limit"]),
            schema_file=Path(kept["schema_file"]) if kept["schema_file"] else None,
            postgres_data=Path(kept["postgres_data"] or data_dir / OWN_POSTGRES),
            demo_users=tuple(DemoUser(**user) for user in kept["demo_users"]),
            web=str(kept.get("web", "built")),
        )
    except FileNotFoundError:
        raise NotInstalled(
            "not_installed", f"There is no local stack in {data_dir}.", "Start one with `./instashare up`."
        ) from None
    except PermissionError:
        raise StackError(
            "installation_private",
            f"{file} belongs to another user of this machine.",
            "Run the command as the user who started the stack, or name a folder of your own with --data-dir.",
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise StackError(
            "installation_damaged",
            f"{file} cannot be read ({error!r}).",
            "Put back a copy of the file, or remove the data folder to begin anew.",
        ) from error


def create(
    data_dir: Path,
    *,
    port: int | None = None,
    confirm_email: bool = False,
    storage_limit: int = DEFAULT_STORAGE_LIMIT,
    schema_file: Path | None = None,
) -> Installation:
    """Make the private folder and file of a new installation, with fresh secrets.

    With `port` (the gateway's) every other port is a free one; without it gateway, backend and Postgres have well-known
    ones. With `schema_file` there are no demo users, since they are ours. Raises StackError if the folder holds an
    installation already or cannot be written.
    """
    data_dir = data_dir.resolve()
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(PermissionError):  # a mounted folder may belong to somebody else
            data_dir.chmod(0o700)
        if (data_dir / FILE).exists():
            raise StackError("installation_exists", f"{data_dir} holds an installation already.")
        users = () if schema_file else DEMO_USERS
        installation = Installation(
            data_dir=data_dir,
            ports=choose_ports(port),
            secrets=_make_secrets(),
            confirm_email=confirm_email,
            storage_limit=storage_limit,
            schema_file=schema_file.resolve() if schema_file else None,
            postgres_data=_choose_postgres_data(data_dir),
            demo_users=tuple(DemoUser(user[0], secrets.token_urlsafe(12), *user[1:]) for user in users),
        )
        save(installation)
    except OSError as error:
        raise find_full_disk(data_dir) or StackError(
            "data_dir_unwritable",
            f"The data folder {data_dir} cannot be written: {error.strerror}.",
            "Name a folder of your own with --data-dir.",
        ) from error
    return installation


def save(installation: Installation) -> None:
    """Write the installation's file (mode 0600) so that a reader sees the old one or the new one, whole."""
    kept: dict[str, Any] = asdict(installation)
    del kept["data_dir"]  # a folder that was moved is still the same installation
    if installation.postgres_data == installation.data_dir / OWN_POSTGRES:
        kept["postgres_data"] = None
    target = installation.data_dir / FILE
    fresh = target.with_suffix(f".{os.getpid()}.new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(kept, file, indent=1, default=str)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(target)


def choose_ports(gateway: int | None, kept: Ports | None = None) -> Ports:
    """Choose an installation's ports.

    A gateway port by name makes all others free ones; those of `kept` stay while they are free.
    """
    taken = set() if gateway is None else {gateway}

    def choose(before: int | None) -> int:
        port = before if before and before not in taken and is_free(before) else free_port(taken)
        taken.add(port)
        return port

    if gateway is None:
        taken |= {54321, 54380, 54322, 54390}
        return Ports(54321, 54380, 54322, choose(None), choose(None), choose(None), 54390)
    others = [kept.backend, kept.postgres, kept.rest, kept.rest_admin, kept.auth, kept.web] if kept else [None] * 6
    return Ports(gateway, *map(choose, others))


def is_free(port: int) -> bool:
    """Tell whether a server could listen on this port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError):
            return False
        return True


def free_port(besides: Iterable[int] = ()) -> int:
    """Choose a free port of 127.0.0.1, other than `besides`.

    Below 32768, where Linux begins to hand out the ports of outgoing connections: a port that is kept in a file must
    not be lost to one of those between two starts.
    """
    besides = set(besides)
    for _ in range(1000):
        port = 20000 + secrets.randbelow(12000)
        if port not in besides and is_free(port):
            return port
    raise StackError("no_free_port", "No free port was found on 127.0.0.1.", "End some servers and try again.")


def _choose_postgres_data(data_dir: Path) -> Path:
    """Postgres refuses to run as root, and its unprivileged user cannot enter root's private folder."""
    if os.geteuid() != 0:
        return data_dir / OWN_POSTGRES
    return ROOT_DATA / hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16] / "postgres"


def _make_secrets() -> Secrets:
    return Secrets(
        publishable_key=_make_key("sb_publishable_"),
        secret_key=_make_key("sb_secret_"),
        jwt_secret=secrets.token_hex(32),
        auth_secret=secrets.token_hex(32),
        signing_key=new_signing_key(),
        passwords={role: secrets.token_hex(16) for role in ROLES},
    )


def _make_key(prefix: str) -> str:
    """An opaque API key in the form of a self-hosted Supabase: 22 random characters and a checksum of 8."""
    random = secrets.token_urlsafe(32).replace("-", "").replace("_", "")[:22].ljust(22, "0")
    digest = hashlib.sha256(f"supabase-self-hosted|{prefix}{random}".encode()).digest()
    return f"{prefix}{random}_{base64.urlsafe_b64encode(digest).decode()[:8]}"
