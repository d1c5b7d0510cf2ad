"""`router completion`: scripts with which a shell completes the command line."""

import shutil
import subprocess
from pathlib import Path

import pytest
import shtab

from router.commands import COMMANDS, main, paths
from router.commands.completion import SHELLS


@pytest.mark.parametrize("shell", SHELLS)
def test_completion_script_names_each_command_and_is_valid_for_its_shell(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each shell's completion script has every command and the option `--without-env`; an installed shell accepts its syntax."""
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert not [name for name in COMMANDS if name not in script]
    assert "without-env" in script
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=script, text=True, timeout=240, check=True)


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        (["router", "che"], ["check"]),
        (["router", "serve", "--p"], ["--port"]),
        (["router", "schema", "dr"], ["drills"]),
        (["router", "check", "--routes", "ro"], ["routes.yaml"]),
        (["router", "import", "litellm", "ro"], ["routes.yaml"]),
    ],
)
def test_bash_completes_commands_options_arguments_and_file_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], typed: list[str], completed: list[str]
) -> None:
    """Bash with the completion script completes a partial command, option, argument or file name at the end of the command line."""
    (tmp_path / "routes.yaml").touch()
    (tmp_path / "notes.txt").touch()
    assert main(["completion", "bash"]) == 0
    script = capsys.readouterr().out
    asked = f'COMP_WORDS=({" ".join(typed)}); COMP_CWORD={len(typed) - 1}; _shtab_router; printf "%s\\n" "${{COMPREPLY[@]}}"'
    done = subprocess.run(["bash", "-c", f"{script}\n{asked}"], cwd=tmp_path, capture_output=True, text=True, timeout=240, check=True)
    assert [one for one in done.stdout.splitlines() if one.startswith(typed[-1])] == completed


def test_completion_of_file_names_equals_that_of_the_library_shtab() -> None:
    """The shell functions by which paths.py completes files and folders equal those of the library shtab."""
    for ours, theirs in ((paths.FILE, shtab.FILE), (paths.FOLDER, shtab.DIRECTORY)):
        assert ours == {shell: theirs[shell] for shell in ours}
        assert set(ours) == set(SHELLS)
