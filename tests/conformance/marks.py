"""The templates of the recordings: literal text with {marks} in it.

In a request a mark stands for one value, in an answer also for whatever varies from run to run:

    {uuid} {token} {http-date} {n} {md5} {ts-ms-Z} {any}    volatile, in answers only
    {user1} {origin} {boundary} {anon-jwt} …                fixed values and tokens
    {@name} {@name.0} {@name[1:-1]}                         a captured value, one of its dotted parts, a slice
    {b64:X} {b64u:X} {rep:N:X}                              X in base64, in base64url, N times
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
from collections.abc import Iterator
from typing import Any

__all__ = ["JWT", "CannotReplay", "Marks", "b64url", "generated"]

JWT = r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+"
VOLATILE = {
    "uuid": r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}",
    "token": JWT,
    "n": r"\d+",
    "md5": r"[0-9a-f]{32}",
    "any": ".*",
    "ts-ms-Z": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z",
    "http-date": r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT",
}
ENCODED = {"b64": r"([A-Za-z0-9+/]*={0,2})", "b64u": r"([A-Za-z0-9_-]*)"}  # their decoded text is compared as well
MARK = re.compile(r"\{(?:(b64u|b64|rep):|(@[^{}]+|[\w-]+)\})")
REFERENCE = re.compile(r"@(\w+)(?:\.(\d)|\[(-?\d*):(-?\d*)\])?")
PATTERN = bytes((i * 31 + 7) % 251 for i in range(251))


class CannotReplay(Exception):
    """A step or a request could not be carried out as recorded."""


def generated(size: int, start: int = 0) -> bytes:
    """`size` bytes of the endless test pattern, from offset `start`."""
    return (PATTERN * (size // 251 + 2))[start % 251 : start % 251 + size]


def b64url(data: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def split_marks(template: str) -> Iterator[str | tuple[str, str]]:
    """Cut a template into literal texts and (mark, argument) pairs."""
    position = 0
    while found := MARK.search(template, position):
        end, depth = found.end(), 1 if found[1] else 0
        while depth:  # an argument may hold braces itself: go on to the one that closes this mark
            depth += {"{": 1, "}": -1}.get(template[end], 0)
            end += 1
        yield template[position : found.start()]
        yield found[1] or found[2], template[found.end() : end - 1]
        position = end
    yield template[position:]


class Marks:
    """Fills templates in for requests, and compares recorded values with what came back."""

    def __init__(self, constants: dict[str, str], shapes: list[dict[str, str]]) -> None:
        self.constants, self.shapes = constants, shapes
        self.tokens: dict[str, str] = {}
        self.captured: dict[str, str | None] = {}

    def fill(self, template: str) -> str:
        """The text that a request sends."""
        return "".join(part if isinstance(part, str) else self.value(*part) for part in split_marks(template))

    def value(self, name: str, argument: str = "") -> str:
        """What one mark stands for. Raises CannotReplay for a value that nobody has captured."""
        match name:
            case "b64u":
                return b64url(self.fill(argument).encode())
            case "b64":
                return base64.b64encode(self.fill(argument).encode()).decode()
            case "rep":
                count, _, text = argument.partition(":")
                return self.fill(text) * int(count)
        if not name.startswith("@") and not name.endswith("-jwt"):
            return self.constants.get(name, "{" + name + "}")
        part = first = last = None
        if found := REFERENCE.fullmatch(name):
            name, part, first, last = found.groups()
        text = self.captured.get(name) or self.tokens.get(name)
        if text is None:
            raise CannotReplay(f"no value for {name}: nothing was captured")
        return text.split(".")[int(part)] if part else text[int(first or 0) : int(last) if last else None]

    def matches(self, template: str, actual: str) -> bool:
        """Whether a text is what the template stands for."""
        pattern, encoded = "", []
        for part in split_marks(template):
            if isinstance(part, str):
                pattern += re.escape(part)
            elif part[0] in VOLATILE:
                pattern += VOLATILE[part[0]]
            elif part[0] in ENCODED:
                pattern += ENCODED[part[0]]
                encoded.append(part[1])
            else:
                pattern += re.escape(self.value(*part))
        found = re.fullmatch(pattern, actual, re.DOTALL)
        with contextlib.suppress(ValueError):  # not base64, or not text
            return found is not None and all(
                self.matches(inner, base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_").decode())
                for inner, text in zip(encoded, found.groups(), strict=True)
            )
        return False

    def expand(self, value: Any) -> Any:
        """Replace the shorthand of the recordings, such as {meta 5 text/plain no-cache}, by what it stands for."""
        for shape in self.shapes if isinstance(value, str) and value.startswith("{") else ():
            if found := re.fullmatch(shape["pattern"], value):
                groups = found.groups()
                return json.loads(re.sub(r"\$(\d)", lambda number: groups[int(number[1]) - 1], shape["json"]))  # noqa: B023
        return value

    def differences(self, expected: Any, actual: Any, where: str) -> list[str]:
        """Compare a recorded JSON value with a real one; one line for each place where they differ."""
        expected = self.expand(expected)
        if expected == "{any}":
            return []
        if isinstance(expected, dict) and isinstance(actual, dict):
            lines = [f"{where}.{key}: missing" for key in expected if key not in actual]
            lines += [f"{where}.{key}: not recorded, is {actual[key]!r}" for key in actual if key not in expected]
            pairs = {f"{where}.{key}": (expected[key], actual[key]) for key in expected if key in actual}
        elif isinstance(expected, list) and isinstance(actual, list):
            lines = [f"{where}: {len(actual)} items, not {len(expected)}"] if len(actual) != len(expected) else []
            pairs = {f"{where}[{place}]": pair for place, pair in enumerate(zip(expected, actual, strict=False))}
        else:
            texts = isinstance(expected, str) and isinstance(actual, str)
            same = self.matches(expected, actual) if texts else expected == actual and type(expected) is type(actual)
            return [] if same else [f"{where}: {str(actual)[:300]!r} instead of {str(expected)[:300]!r}"]
        return lines + [line for place, pair in pairs.items() for line in self.differences(*pair, place)]

    def body(self, recorded: Any, content_type: str) -> bytes | None:
        """The bytes of a request's body: a template, generated bytes or a form."""
        if isinstance(recorded, str):
            return self.fill(recorded).encode()
        if recorded is None:
            return None
        if "gen" in recorded:
            return generated(recorded["gen"], recorded.get("from", 0))
        delimiter, form = "--" + content_type.partition("boundary=")[2], b""
        for part in recorded["multipart"]:
            head = f'{delimiter}\r\nContent-Disposition: form-data; name="{part["name"]}"'
            head += f'; filename="{part["filename"]}"' if "filename" in part else ""
            head += f"\r\nContent-Type: {part['type']}" if "type" in part else ""
            form += f"{head}\r\n\r\n".encode() + (self.body(part["data"], "") or b"") + b"\r\n"
        form += f"{delimiter}--\r\n".encode()
        return form[: len(form) - recorded.get("cut", 0)]
