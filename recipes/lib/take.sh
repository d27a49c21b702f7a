# Shared by what is built on libraries of other artifacts. Sourced after build.sh.

# take_library ARTIFACT NAME: puts a library of an artifact where the configured build would make it, and tells ninja not to.
take_library() {
    local from=$source_root/dependencies/$1 name=$2 rule
    mkdir -p lib
    case $TARGET in
    *-windows-msvc)
        cp "$from/bin/$name.dll" "$from/lib/$name.lib" lib/
        rule="lib/$name.dll lib/$name.lib"
        ;;
    *)
        cp "$from/lib/lib$name.so" lib/
        rule="lib/lib$name.so"
        ;;
    esac
    local pattern="^build [^:]*$name\.(dll|so)[^:]*: CXX_SHARED_LIBRARY_LINKER.*"
    if [ "$(grep -cE "$pattern" build.ninja)" != 1 ]; then
        echo "build.ninja has no rule, or several, that make $name" >&2
        exit 1
    fi
    sed -Ei "s#$pattern#build $rule: phony#" build.ninja
}

# ship ARTIFACT NAME...: the libraries NAME of an artifact are shipped here too, byte for byte, with all that goes with them.
ship() {
    local from=$source_root/dependencies/$1 name file
    shift
    mkdir -p "$out"
    for name; do
        for file in "bin/$name.dll" "lib/$name.lib" "lib/lib$name.so" "debug/lib$name.so.debug" "lib/cmake/$name" "lib/pkgconfig/$name.pc"; do
            if [ -e "$from/$file" ]; then
                mkdir -p "$out/${file%/*}"
                cp -r --no-preserve=mode "$from/$file" "$out/${file%/*}/"
            fi
        done
    done
    cp -r --no-preserve=mode "$from/include" "$from/licenses" "$out/"
}
