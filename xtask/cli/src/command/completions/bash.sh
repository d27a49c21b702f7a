# Completions of mlc-repro's `xtask` and `cargo xtask` for bash, written by `cargo xtask completions bash`.

# The program of the checkout around the working directory, else the one on PATH.
_xtask_program() {
    local directory=$PWD
    while [ -n "$directory" ]; do
        if [ -x "$directory/target/tool/xtask" ]; then
            printf '%s' "$directory/target/tool/xtask"
            return
        fi
        directory=${directory%/*}
    done
    type -P xtask
}

# $1: how many words stand before the arguments.
_xtask_complete() {
    local program current prefix candidate words
    program=$(_xtask_program) || return
    # bash splits words at `@` and `=`, where ours do not end.
    read -ra words <<<"${COMP_LINE:0:COMP_POINT}"
    case "${COMP_LINE:0:COMP_POINT}" in *[[:space:]]) words+=('') ;; esac
    current=${words[${#words[@]} - 1]}
    prefix=${current%"${current##*[@=:]}"}
    while IFS=$'\t' read -r candidate _; do
        case "$candidate" in "$current"*) COMPREPLY+=("${candidate#"$prefix"}") ;; esac
    done < <("$program" complete -- "${words[@]:$1}" 2>/dev/null)
}

_xtask() {
    COMPREPLY=()
    _xtask_complete 1
}

_cargo_with_xtask() {
    if [ "${COMP_WORDS[1]}" = xtask ] && [ "$COMP_CWORD" -gt 1 ]; then
        COMPREPLY=()
        _xtask_complete 2
    elif [ -n "$_xtask_cargo" ]; then
        "$_xtask_cargo" "$@"
    fi
}

# What completes cargo otherwise, which bash-completion loads when it is first needed.
if declare -F _comp_load >/dev/null; then
    _comp_load cargo 2>/dev/null
elif declare -F _completion_loader >/dev/null; then
    _completion_loader cargo 2>/dev/null
fi
_xtask_found=$(complete -p cargo 2>/dev/null | sed -n 's/.* -F \([^ ]*\) .*/\1/p')
if [ "$_xtask_found" != _cargo_with_xtask ]; then _xtask_cargo=$_xtask_found; fi
complete -o bashdefault -o default -F _cargo_with_xtask cargo
complete -o bashdefault -o default -F _xtask xtask
