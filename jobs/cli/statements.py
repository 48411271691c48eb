"""Split a migration into its statements, so that each can be run and blamed by itself."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["Statement", "split_statements"]

# What a scanner must step over as a whole, or count (PostgreSQL's manual, "Lexical Structure").
TOKEN = re.compile(
    r"""
    (?P<line_comment> --[^\n]* )
  | (?P<open_comment> /\* )
  | (?P<escape_string> (?<![A-Za-z0-9_$\x80-\U0010ffff]) [eE]' (?: [^'\\] | \\. | '' )* (?: ' | \Z ) )
  | (?P<string> ' (?: [^'] | '' )* (?: ' | \Z ) )
  | (?P<identifier> " (?: [^"] | "" )* (?: " | \Z ) )
  | (?P<dollar> (?<![A-Za-z0-9_$\x80-\U0010ffff]) \$ (?: [A-Za-z_\x80-\U0010ffff] [A-Za-z0-9_\x80-\U0010ffff]* )? \$ )
  | (?P<word> [A-Za-z_\x80-\U0010ffff][A-Za-z0-9_$\x80-\U0010ffff]* )
  | (?P<end> ; )
    """,
    re.VERBOSE | re.DOTALL,
)
COMMENT_EDGE = re.compile(r"/\*|\*/")


@dataclass(frozen=True)
class Statement:
    """One statement without its semicolon; `line` is the file's line (from 1) on which its text begins.

    `runs` is false for what is only comments.
    """

    text: str
    line: int
    runs: bool


def split_statements(sql: str) -> list[Statement]:
    """Split at the semicolons that end statements: not those in strings, names, comments, dollar quotes, or in the body
    of an SQL-standard function (`begin atomic … end`, with its `case … end`s counted)."""
    statements: list[Statement] = []
    start = position = 0
    runs = False
    previous, depth = "", 0  # depth counts the ENDs still owed since BEGIN ATOMIC

    def take(end: int) -> None:
        text = sql[start:end]
        if text.strip():
            leading = len(text) - len(text.lstrip())
            statements.append(Statement(text.strip(), sql.count("\n", 0, start + leading) + 1, runs))

    while token := TOKEN.search(sql, position):
        kind = token.lastgroup
        if sql[position : token.start()].strip():
            runs, previous = True, ""
        position = token.end()
        if kind == "line_comment":
            continue
        if kind == "open_comment":
            position = _end_of_comment(sql, position)
            continue
        if kind == "end":
            if depth == 0:
                take(token.start())
                start, runs = position, False
            previous = ""
            continue
        runs = True
        if kind == "dollar":
            close = sql.find(token[0], position)
            position = len(sql) if close < 0 else close + len(token[0])
        word = token[0].lower() if kind == "word" else ""
        if word == "atomic" and previous == "begin":
            depth = 1
        elif depth and word == "case":
            depth += 1
        elif depth and word == "end":
            depth -= 1
        previous = word
    if sql[position:].strip():
        runs = True
    take(len(sql))
    return statements


def _end_of_comment(sql: str, position: int) -> int:
    """The position after a block comment that was opened before `position`; they nest in PostgreSQL."""
    depth = 1
    for edge in COMMENT_EDGE.finditer(sql, position):
        depth += 1 if edge[0] == "/*" else -1
        if depth == 0:
            return edge.end()
    return len(sql)
