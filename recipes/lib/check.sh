# Shared by the checks: how a program of $TARGET is run, and how its report is written.
# Sourced from /build/src/run.sh; the caller runs under `bash -euo pipefail`.

readonly source_root=/build/src
readonly out=/build/out

case $TARGET in
*-windows-msvc)
    export WINEPREFIX=$PWD/prefix WINEDEBUG=-all
    # No .NET, no browser, no desktop menu: none of them has a part in loading a library.
    export WINEDLLOVERRIDES='mscoree,mshtml=;winemenubuilder.exe='
    # Wine writes to its registry and wants to own the prefix; the libraries in it are only read and are linked to.
    cp -rs "$source_root/dependencies/wine-prefix/prefix" "$WINEPREFIX"
    for registry in "$source_root"/dependencies/wine-prefix/prefix/*.reg; do
        cp --remove-destination --no-preserve=mode "$registry" "$WINEPREFIX/"
    done
    chmod -R u+w "$WINEPREFIX"
    mkdir "$WINEPREFIX/dosdevices"
    ln -s ../drive_c "$WINEPREFIX/dosdevices/c:"
    ln -s / "$WINEPREFIX/dosdevices/z:"
    readonly program_suffix=.exe library_directory=bin library_prefix='' library_suffix=.dll
    ;;
*)
    readonly program_suffix='' library_directory=lib library_prefix=lib library_suffix=.so
    ;;
esac

# library NAME: the file name of a library on $TARGET.
library() {
    printf '%s%s%s' "$library_prefix" "$1" "$library_suffix"
}

# run DIRECTORY PROGRAM [ARGUMENT...]: runs a program that stands in DIRECTORY; its status is the result.
run() {
    local directory=$1 program=$2
    shift 2
    case $TARGET in
    *-windows-msvc)
        # The server of the program before may still be ending: it would cut off whoever reaches it then.
        timeout 300 /usr/lib/wine/wineserver64 -w
        (cd "$directory" && timeout 300 /usr/lib/wine/wine64 "./$program$program_suffix" "$@" | tr -d '\r')
        ;;
    *) (cd "$directory" && timeout 300 "./$program$program_suffix" "$@") ;;
    esac
}

# report NAME COMMAND...: runs a check, writes what it says to NAME.txt and to the log, and fails with it.
report() {
    local name=$1 status=0
    shift
    "$@" >"$out/$name.txt" 2>"$name.stderr" || status=$?
    cat "$out/$name.txt" "$name.stderr"
    if [ "$status" != 0 ]; then
        # Once more at the end of the log, below what a debugger may have said.
        grep '^FAILED\|^MISSING' "$out/$name.txt" >&2 || true
        echo "the check \`$name\` failed with status $status" >&2
        exit 1
    fi
}
