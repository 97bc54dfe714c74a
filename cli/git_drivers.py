"""What `nhnas git install` writes into `.git/config`: drivers for diff and merge, guarded.

git runs them with `sh`. The interpreter that nhnas was installed with comes first (`nhnas.python`), then
`nhnas` on PATH; where neither is there or works, the fallback is git's own text, so that nothing ever dies.
"""

from __future__ import annotations

CONFLICT = 6
"""Exit code of `nhnas git merge-driver` with conflicts; 1 is our own bug, after which git merges text."""

PYTHON = "nhnas.python"

_NHNAS = '"$p" -P -m nhnas git {verb} -- "$@"'  # -P: what lies in the repository is never imported
_DIFF = (
    "f() { p=$(git config --get nhnas.python); "
    '{ test -x "$p" && ' + _NHNAS.format(verb="diff-driver") + "; } 2>/dev/null || "
    'nhnas git diff-driver -- "$@" 2>/dev/null || '
    'if test $# -gt 1; then git --no-pager diff --no-ext-diff --no-index -- "$2" "$5"; '
    'else echo "* Unmerged path $1"; fi; :; }; f'
)
_MERGE = (
    "f() { s=127; p=$(git config --get nhnas.python); "
    'if test -x "$p"; then ' + _NHNAS.format(verb="merge-driver") + "; s=$?; fi; "
    f"if test $s != 0 && test $s != {CONFLICT} && command -v nhnas >/dev/null; "
    'then nhnas git merge-driver -- "$@"; s=$?; fi; '
    f"case $s in 0) return 0;; {CONFLICT}) return 1;; esac; "
    'echo "nhnas: merged as text: $5" >&2; '
    'git merge-file --marker-size="$4" -L ours -L base -L theirs "$2" "$1" "$3" || return 1; '
    "}; f %O %A %B %L %P %S %X %Y"
)

_NAME = r"""["']?name["']?[ 	]*:[ 	]*("([^"\\]|\\.)*"|'[^']*'|[^],}#]*)"""
_HEADINGS = (
    rf"^[ 	]*-[ 	]+[{{]?[ 	]*{_NAME}",  # a layer that begins with its name
    rf"^[ 	]+{_NAME}",  # a layer's name further down
    r"""^["']?(net|data|train|search)["']?[ 	]*:""",
)

SETTINGS = {
    "diff.nhnas.command": _DIFF,
    "diff.nhnas.xfuncname": "\n".join(_HEADINGS),
    "merge.nhnas.name": "nhnas specs, edit by edit",
    "merge.nhnas.driver": _MERGE,
    # Between common ancestors a conflict would leave markers in what is to be the base.
    "merge.nhnas.recursive": "binary",
}
"""Keys and values but for `PYTHON`; git reads a regular expression a line, the tabs in them are tabs."""
