# Compiles TVM's Java API, and packs classes and sources as jars whose bytes depend on their content alone.
source=/build/src/tilelang/3rdparty/tvm
out=/build/out
jdk=/usr/lib/jvm/java-21-openjdk-amd64/bin

(cd "$source/jvm/core/src/main/java" && find . -name '*.java' | LC_ALL=C sort) >sources
mkdir classes headers "$out/licenses" "$out/licenses/tvm"
# --release 8: what Android's own compiler takes since its first Java 8, and every JVM.
(cd "$source/jvm/core/src/main/java" && "$jdk/javac" -encoding UTF-8 -g --release 8 -Xlint:-options -d /build/work/classes \
    -h /build/work/headers @/build/work/sources)

# pack NAME DIRECTORY: everything below DIRECTORY as NAME.jar, sorted, at one time, without a manifest that names the JDK.
pack() {
    (cd "$2" && find . -type f | sed 's|^\./||' | LC_ALL=C sort) >"$1.list"
    (cd "$2" && "$jdk/jar" --create --no-manifest --date=1980-01-01T00:00:02Z --file "$out/$1.jar" "@/build/work/$1.list")
    chmod 644 "$out/$1.jar"
}
pack tvm4j_core classes
pack tvm4j_core-sources "$source/jvm/core/src/main/java"

# For the JNI library, under the name that its source includes it by.
install -D -m 644 headers/org_apache_tvm_LibInfo.h "$out/include/org_apache_tvm_native_c_api.h"
install -m 644 "$source/LICENSE" "$source/NOTICE" "$out/licenses/tvm/"
