# Completions of mlc-repro's `xtask` and `cargo xtask` for fish, written by `cargo xtask completions fish`.

# The program of the checkout around the working directory, else the one on PATH.
function __xtask_program
    set -l directory $PWD
    while test -n "$directory"
        if test -x "$directory/target/tool/xtask"
            echo "$directory/target/tool/xtask"
            return
        end
        set directory (string replace -r '/[^/]*$' '' -- "$directory")
    end
    command -s xtask
end

# $argv[1]: how many words stand before the arguments.
function __xtask_complete
    set -l program (__xtask_program)
    or return
    set -l words (commandline -opc)
    set -l first (math $argv[1] + 1)
    set -l before
    if test (count $words) -ge $first
        set before $words[$first..-1]
    end
    $program complete -- $before (commandline -ct) 2>/dev/null
end

function __xtask_is_cargos
    set -l words (commandline -opc)
    test (count $words) -ge 2; and test "$words[2]" = xtask
end

complete -c xtask -a '(__xtask_complete 1)'
complete -c cargo -n __xtask_is_cargos -a '(__xtask_complete 2)'
