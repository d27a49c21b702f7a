# Completions of mlc-repro's `xtask` and `cargo xtask` for zsh, written by `cargo xtask completions zsh`.
# To be sourced below `compinit`.

# The program of the checkout around the working directory, else the one on PATH.
_xtask_program() {
    local directory=$PWD
    while [[ -n $directory ]]; do
        if [[ -x $directory/target/tool/xtask ]]; then
            print -r -- $directory/target/tool/xtask
            return
        fi
        directory=${directory%/*}
    done
    whence -p xtask
}

# The words before the cursor are the arguments, behind the first.
_xtask() {
    local program line
    local -a described
    program=$(_xtask_program) || return 1
    for line in ${(f)"$($program complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)"}; do
        # A colon would begin the description.
        described+=("${${line%%$'\t'*}//:/\\:}${${(M)line%%$'\t'*}:+:${line#*$'\t'}}")
    done
    if (( $#described )); then
        _describe -t values xtask described
    else
        _files
    fi
}

_cargo_with_xtask() {
    if [[ $words[2] == xtask ]] && (( CURRENT > 2 )); then
        shift words
        (( CURRENT-- ))
        _xtask
    elif (( $+functions[_cargo] )) || autoload -Uz +X _cargo 2>/dev/null; then
        _cargo "$@"
    else
        _files
    fi
}

compdef _xtask xtask
compdef _cargo_with_xtask cargo
