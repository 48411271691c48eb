"""The README's programs, run as written against the stack."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from local.packages import node
from tests.e2e.conftest import CLI, ROOT, Stack

PROGRAMS = dict(re.findall(r"```(python|js)\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL))


@pytest.mark.parametrize("language", ["python", "js"])
def test_the_readmes_program_does_the_main_job(stack: Stack, tmp_path: Path, language: str) -> None:
    if stack.data_dir is None:
        pytest.skip("the README's programs speak to the local stack")
    # the programs ask `./instashare status --json`; here that is the stack of this session
    command = tmp_path / "instashare"
    where = f"--data-dir {json.dumps(str(stack.data_dir))}"
    command.write_text(f'#!/bin/sh\ncd {json.dumps(str(ROOT))}\nexec {" ".join(CLI)} "$@" {where}\n')
    command.chmod(command.stat().st_mode | stat.S_IXUSR)
    (tmp_path / "README.md").write_text("# Hello\n")
    (tmp_path / "node_modules").symlink_to(ROOT / "tests" / "clients" / "node_modules")
    script = tmp_path / ("main_job.py" if language == "python" else "main_job.mjs")
    script.write_text(PROGRAMS[language])
    program = [sys.executable, script] if language == "python" else [node(), script]
    done = subprocess.run(
        program, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False, env={**os.environ}
    )
    assert done.returncode == 0, done.stderr
    assert "README.md" in done.stdout
