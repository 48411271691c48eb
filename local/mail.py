"""The mails that Auth would have sent: it leaves each as a file, which `instashare mail` shows."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

__all__ = ["Mail", "messages"]

LINK = re.compile(r"https?://[^\s<>\"]+")


@dataclass(frozen=True)
class Mail:
    """One message. `text` is its plain text, `links` the addresses in it, `sent_at` an aware time in UTC."""

    to: str
    subject: str
    sent_at: datetime
    text: str
    links: tuple[str, ...]


def messages(mail_dir: Path, to: str | None = None) -> list[Mail]:
    """The mails of a folder, the newest last, or those to one address; a file that is no mail is passed over."""
    mails = []
    for file in mail_dir.glob("*.json") if mail_dir.is_dir() else ():
        mail = _read(file)
        if mail is not None and (to is None or mail.to.lower() == to.lower()):
            mails.append((file.name, mail))
    # names begin with the time and go on with a counter, so that they tell mails of one millisecond apart
    return [mail for _, mail in sorted(mails, key=lambda named: named[0])]


def _read(file: Path) -> Mail | None:
    try:
        kept = json.loads(file.read_text())
        text = str(kept.get("text") or "")
        sent_at = datetime.fromisoformat(kept["sent_at"])
        return Mail(str(kept["to"]), str(kept["subject"]), sent_at, text, tuple(LINK.findall(text)))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # pruned meanwhile, or put there by somebody else
