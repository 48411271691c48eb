"""docs/scaling.md: the arithmetic of its last table follows from its own measured figures."""

from __future__ import annotations

import math
import re

from tests.caddy import ROOT

PAGE = (ROOT / "docs" / "scaling.md").read_text()
UNITS = {"KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}


def figure(pattern: str) -> float:
    """The one number that the page gives in these words."""
    (found,) = re.findall(pattern, PAGE)
    return float(found.replace(",", ""))


def rows(heading: str) -> list[list[str]]:
    """The cells of the table under a heading row."""
    lines = PAGE[PAGE.index(heading) :].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[: lines.index("")]]


def size(text: str) -> float:
    number, unit = text.split()
    return float(number) * UNITS[unit]


def close(told: float, right: float) -> bool:
    """As near as a figure of two or three digits can be."""
    return abs(told - right) <= 0.06 * right


def test_the_figures_of_the_arithmetic_are_the_measured_ones() -> None:
    cells = {row[0].strip("`"): row[1:] for row in rows("| preset |")}
    assert set(cells) == {"fast", "balanced", "small"}
    small, _, large = (cell.split(" · ") for cell in cells["balanced"][:3])
    assert figure(r"\*\*(\d+) documents a second\*\*") == float(small[0].replace(",", "")) // 3600
    assert figure(r"\*\*(\d+) MB a second\*\*") == size(large[1]) / 1e6 // 3600
    table = rows("| table | rows a document")
    bytes_a_document = sum(int(row[1]) * (int(row[2]) + int(row[3])) for row in table)
    assert close(figure(r"That is \*\*([\d.]+) KB a document") * 1000, bytes_a_document)
    for row in table:
        assert close(size(row[4]), int(row[1]) * int(row[2]) * 1e6) and close(
            size(row[5]), int(row[1]) * int(row[3]) * 1e6
        )


def test_the_table_follows_from_the_figures() -> None:
    documents, megabytes = figure(r"\*\*(\d+) documents a second\*\*"), figure(r"\*\*(\d+) MB a second\*\*")
    transactions, kilobytes = figure(r"\*\*(\d+) transactions\*\*"), figure(r"That is \*\*([\d.]+) KB a document")
    told = rows("| N a day, M |")
    assert len(told) >= 4
    for what, peak, runners, database, kept, stored, moved in told:
        amount, mega = (float(part.replace(",", "")) for part in re.findall(r"([\d,]+) of ([\d,]+) MB", what)[0])
        rate = amount * 4 / 86_400
        first, second = (float(part) for part in re.findall(r"([\d.]+) (?:/s|MB/s)", peak))
        assert abs(first - rate) <= 0.006 and abs(second - rate * mega) <= 0.06
        assert runners == f"{math.ceil(max(rate / documents, rate * mega / megabytes))} + 1"
        assert abs(float(database.split()[0]) - rate * transactions) <= 0.06
        assert close(size(kept), kilobytes * 1e3 * amount * 365)
        assert close(size(stored), 2 * mega * 1e6 * amount)
        assert close(size(moved), 3 * mega * 1e6 * amount)
