# Compiles TVM's Java API, and packs classes and sources.
. /build/src/jar.sh
source=$source_root/tilelang/3rdparty/tvm
java=$source/jvm/core/src/main/java

(cd "$java" && find . -name '*.java' | LC_ALL=C sort) >sources
mkdir classes headers
# --release 8: what Android's own compiler takes since its first Java 8, and every JVM.
(cd "$java" && "$jdk/javac" -encoding UTF-8 -g --release 8 -Xlint:-options -d /build/work/classes -h /build/work/headers \
    @/build/work/sources)
pack tvm4j_core classes
pack tvm4j_core-sources "$java"

# For the JNI library, under the name that its source includes it by.
install -D -m 644 headers/org_apache_tvm_LibInfo.h "$out/include/org_apache_tvm_native_c_api.h"
install -D -m 644 "$source/LICENSE" "$out/licenses/tvm/LICENSE"
install -m 644 "$source/NOTICE" "$out/licenses/tvm/"
