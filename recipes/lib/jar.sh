# Shared by the scripts that compile for the JVM: the JDK, and jars whose bytes depend on their content alone.
# Sourced by `recipes/*.sh` from /build/src/jar.sh under `bash -euo pipefail`.

readonly source_root=/build/src
readonly out=/build/out
readonly jdk=/usr/lib/jvm/java-21-openjdk-amd64/bin

# pack NAME DIRECTORY: everything below DIRECTORY as NAME.jar, sorted, at one time, without a manifest that names the JDK.
# Not compressed: the JDK writes sizes behind what it compresses, where readers differ; AARs and releases compress the jar itself.
pack() {
    (cd "$2" && find . -type f | sed 's|^\./||' | LC_ALL=C sort) >"$1.list"
    (cd "$2" && "$jdk/jar" --create --no-manifest --no-compress --date=1980-01-01T00:00:02Z --file "$out/$1.jar" "@/build/work/$1.list")
    chmod 644 "$out/$1.jar"
}
