"""Completion of `torfluxd` for bash and zsh, written out of what can be typed. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from torfluxd.commands import Command, Flag

__all__ = ["SHELLS", "completion_for"]

SHELLS = ("bash", "zsh")

_GLOBAL = ("--help", "--version")
"""What can stand in a command's place."""


def completion_for(shell: str, commands: Sequence[Command]) -> str:
    """A script that makes a shell complete `torfluxd`.

    :param shell: one of :data:`SHELLS`.
    :param commands: all that there are.
    """
    return _bash(commands) if shell == "bash" else _zsh(commands)


def _filled(template: str, blanks: Mapping[str, str]) -> str:
    for name, text in blanks.items():
        template = template.replace(f"@{name}@", text)
    return template


# bash

_BASH = """\
# Completion of torfluxd for bash; made by: torfluxd completion bash
_torfluxd() {
    local command=${COMP_WORDS[1]} words=""
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}
    COMPREPLY=()
    # bash takes --option=value for three words.
    if [[ $current == = ]]; then
        current=""
    elif [[ $previous == = ]]; then
        previous=${COMP_WORDS[COMP_CWORD-2]}
    fi
    if ((COMP_CWORD == 1)); then
        words="@COMMANDS@"
    else
        case "$command $previous" in
@VALUES@
        esac
        [[ -n $words ]] || case "$command $COMP_CWORD" in
@ACTIONS@
        esac
        [[ -n $words ]] || case $command in
@OPTIONS@
        esac
    fi
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
    if ((COMP_CWORD > 2)) && [[ $command == @(@FILES@) && $current != -* ]]; then
        _torfluxd_names -f
    fi
}
_torfluxd_names() {
    compopt -o filenames
    mapfile -t COMPREPLY < <(compgen "$1" -- "$current")
}
complete -F _torfluxd torfluxd
"""


def _bash(commands: Sequence[Command]) -> str:
    acting = [command for command in commands if command.actions]
    blanks = {
        "COMMANDS": " ".join([*(command.name for command in commands), *_GLOBAL]),
        "VALUES": "\n".join(_bash_values(commands)),
        "ACTIONS": "\n".join(_bash_words(f'"{one.name} 2"', [*one.actions, *_options(one)]) for one in acting),
        "OPTIONS": "\n".join(_bash_words(command.name, _options(command)) for command in commands),
        "FILES": "|".join(command.name for command in commands if command.takes_files),
    }
    return _filled(_BASH, blanks)


def _bash_words(pattern: str, words: Sequence[str]) -> str:
    return f'            {pattern}) words="{" ".join(words)}" ;;'


def _bash_values(commands: Sequence[Command]) -> Iterator[str]:
    """What can stand behind an option."""
    kinds: dict[str, list[str]] = {}
    for command in commands:
        for flag in command.flags:
            if flag.placeholder:
                kinds.setdefault(_bash_action(flag), []).append(f'"{command.name} --{flag.name}"')
    for action, patterns in kinds.items():
        yield f"            {'|'.join(patterns)}) {action} ;;"


def _bash_action(flag: Flag) -> str:
    if flag.choices:
        return f'words="{" ".join(flag.choices)}"'
    if flag.takes_file:
        return "_torfluxd_names -f; return"
    return "_torfluxd_names -d; return" if flag.takes_directory else "return"


def _options(command: Command) -> list[str]:
    return [f"--{flag.name}" for flag in command.flags]


# zsh

_ZSH = """\
#compdef torfluxd
# Completion of torfluxd for zsh; made by: torfluxd completion zsh
_torfluxd() {
    local context state state_descr line
    typeset -A opt_args
    _arguments -C '(- *)--help[tell how it is used]' '(- *)--version[print the versions]' \\
        '1:command:->command' '*::argument:->argument'
    case $state in
        command)
            local -a commands=(
@COMMANDS@
            )
            _describe command commands
            ;;
        argument)
            case $words[1] in
@ARGUMENTS@
            esac
            ;;
    esac
}
if [[ $funcstack[1] == _torfluxd ]]; then _torfluxd "$@"; else compdef _torfluxd torfluxd; fi
"""


def _zsh(commands: Sequence[Command]) -> str:
    blanks = {
        "COMMANDS": "\n".join(" " * 16 + _quoted(f"{command.name}:{command.summary}") for command in commands),
        "ARGUMENTS": "\n".join(" " * 16 + line for command in commands for line in _zsh_command(command)),
    }
    return _filled(_ZSH, blanks)


def _zsh_command(command: Command) -> Iterator[str]:
    specifications = [_zsh_flag(flag) for flag in command.flags]
    if command.actions:
        specifications.append(f"1:what to do:({' '.join(command.actions)})")
    if command.takes_files:
        specifications.append("*:file:_files")
    yield f"{command.name})"
    yield "    _arguments \\"
    for number, specification in enumerate(specifications, 1):
        yield f"        {_quoted(specification)}" + (" \\" if number < len(specifications) else "")
    yield "    ;;"


def _zsh_flag(flag: Flag) -> str:
    """A specification of `_arguments`."""
    text = re.sub(r"([\[\]\\:])", r"\\\1", _first_sentence(flag.help))
    head = f"{'*' if flag.repeatable else ''}--{flag.name}{'=' if flag.placeholder else ''}[{text}]"
    if not flag.placeholder:
        return head
    if flag.choices:
        action = f"({' '.join(flag.choices)})"
    elif flag.takes_file:
        action = "_files"
    else:
        action = "_files -/" if flag.takes_directory else " "
    return f"{head}:{flag.placeholder.strip(chr(39))}:{action}"


def _first_sentence(text: str) -> str:
    """As much of a help as has room behind an option."""
    return re.split(r"\.? \[default|(?<=[a-z0-9)])\. ", text, maxsplit=1)[0].removesuffix(".")


def _quoted(text: str) -> str:
    """As zsh takes it for one word."""
    return "'" + text.replace("'", "'\\''") + "'"
