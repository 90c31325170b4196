"""`k2ctl completion`: a shell's script that completes what is typed; and the answers to its questions."""

import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

import typer
from typer._click.shell_completion import ShellComplete  # Typer carries Click, and hands out no completion of its own

QUESTION: Final = "__complete"
"""Before the words of a line that a shell asks for; the last one is not whole."""
WORDS: Final = "words"
FILES: Final = "files"
"""The first line of an answer: words follow, or files are wanted."""
_OF_FILES: Final = ("FILE", "PATH", "FOLDER", "DIR")
_SHORT: Final = 70

Shell = Literal["bash", "zsh", "fish"]

_BASH: Final = r"""_k2ctl() {
    local line kind="" current="${COMP_WORDS[COMP_CWORD]}"
    COMPREPLY=()
    while IFS= read -r line; do
        if [[ -z $kind ]]; then kind=$line; else printf -v line '%q' "${line%%$'\t'*}"; COMPREPLY+=("$line"); fi
    done < <("$1" __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
    if [[ $kind == files ]]; then compopt -o default 2>/dev/null; fi
}
complete -F _k2ctl k2ctl
"""
_ZSH: Final = r"""#compdef k2ctl
_k2ctl() {
    local -a lines found shown
    local line
    lines=("${(@f)$("${(Q)words[1]}" __complete "${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)}")
    if [[ ${lines[1]} == files ]]; then _files; return; fi
    for line in "${(@)lines[2,-1]}"; do
        found+=("${line%%$'\t'*}")
        shown+=("${line/$'\t'/  -- }")
    done
    (( ${#found} )) && compadd -l -d shown -a found
}
if [[ ${funcstack[1]} == _k2ctl ]]; then _k2ctl "$@"; else compdef _k2ctl k2ctl; fi
"""
_FISH: Final = r"""function __k2ctl_complete
    set -l typed (commandline -opc)
    set -l current (commandline -ct)
    set -l lines ($typed[1] __complete $typed[2..-1] "$current" 2>/dev/null)
    if test "$lines[1]" = files
        __fish_complete_path "$current"
    else if test (count $lines) -gt 1
        printf '%s\n' $lines[2..-1]
    end
end
complete -c k2ctl -f -a '(__k2ctl_complete)'
"""
SCRIPTS: Final[dict[Shell, str]] = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def completion(
    shell: Annotated[Shell, typer.Argument(metavar="bash|zsh|fish", help="The shell that you type in.")],
) -> None:
    """A script for your shell, so that Tab completes commands, options, symbols, topics, profiles and feeds.

    Examples:

    source <(k2ctl completion bash)    in ~/.bashrc

    source <(k2ctl completion zsh)    in ~/.zshrc, after compinit

    k2ctl completion fish > ~/.config/fish/completions/k2ctl.fish
    """
    sys.stdout.write(SCRIPTS[shell])


def answered(command: Any, program: str, words: Sequence[str]) -> int:
    """Write what the last of the words may become. Whatever goes wrong, nothing is said: a person is typing."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    said = os.dup(2)
    os.dup2(nowhere, 2)
    try:
        sys.stdout.write("".join(f"{line}\n" for line in answer(command, program, words)))
        sys.stdout.flush()
    except (Exception, SystemExit):
        return 1
    finally:
        os.dup2(said, 2)
        os.close(said)
        os.close(nowhere)
    return 0


def answer(command: Any, program: str, words: Sequence[str]) -> list[str]:
    """Whether words or files are meant, then each word, with a tab and its meaning where there is one."""
    *before, last = _joined(words) or [""]
    question = _Question(command, {}, program, "")
    found = question.get_completions(before, last.lstrip("\"'"))
    if not found and question.wants_files:
        return [FILES]
    return [WORDS, *map(question.format_completion, found)]


def _joined(words: Sequence[str]) -> list[str]:
    """The words without the `=` that bash parts from `--option=value`."""
    return [
        word
        for at, word in enumerate(words)
        if not (word == "=" and 0 < at < len(words) - 1 and words[at - 1].startswith("--"))
    ]


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHORT else f"{line[: _SHORT - 1]}…"


class _Question(ShellComplete):
    """Click's own walk along the words, for no shell in particular."""

    name = "any"
    source_template = ""
    # Whether what is asked for is the name of a file.
    wants_files = False

    def source_vars(self) -> dict[str, Any]:
        return {}

    def get_completion_args(self) -> tuple[list[str], str]:
        """No words by themselves: who asks brings them along."""
        return [], ""

    def format_completion(self, item: Any) -> str:
        return f"{item.value}\t{_shortened(item.help)}" if item.help else str(item.value)

    def get_completions(self, args: list[str], incomplete: str) -> list[Any]:
        from typer._click.shell_completion import _resolve_context, _resolve_incomplete

        # An option whose value is asked for would end the walk, and with it what the words before it say.
        whole = args[:-1] if args and args[-1].startswith("-") else args
        context = _resolve_context(self.cli, self.ctx_args, self.prog_name, whole)
        asked, incomplete = _resolve_incomplete(context, args, incomplete)
        metavar = getattr(asked, "metavar", None) or ""
        described = getattr(asked, "type_descriptor", None)
        self.wants_files = any(word in metavar for word in _OF_FILES) or bool(described and described.is_path)
        found = list(asked.shell_complete(context, incomplete))
        for one in found:
            below = getattr(asked, "commands", {}).get(one.value)
            if below is not None:
                one.help = below.get_short_help_str(_SHORT)
        return found
