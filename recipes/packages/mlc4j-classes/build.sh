# Compiles mlc4j's Java and Kotlin, which refer to each other, and packs them with the Java API of TVM that they call.
. /build/src/jar.sh
tvm=$source_root/mlc-llm/3rdparty/tvm
mlc=$source_root/mlc-llm/android/mlc4j/src/main/java
libraries=$(printf '%s:' "$source_root"/serialization/run_kotlin_kernel/jars/*.jar "$source_root"/kotlin/lib/kotlinx-coroutines-core-jvm.jar)

mkdir classes headers sources stubs
cp -r --no-preserve=mode "$tvm/jvm/core/src/main/java/." sources/
cp -r --no-preserve=mode "$mlc/." sources/
(cd sources && find . -name '*.java' | LC_ALL=C sort) >java-sources
(cd sources && find . -name '*.kt' | LC_ALL=C sort) >kotlin-sources
(cd "$source_root/stubs" && "$jdk/javac" --release 8 -Xlint:-options -d /build/work/stubs android/util/Log.java)

# Kotlin first: its compiler reads Java's sources too; then javac, which reads Kotlin's classes.
# shellcheck disable=SC2046 # file names without blanks
(cd sources && "$jdk/java" -Xmx1500m -cp "$source_root/kotlin/lib/kotlin-compiler.jar:$source_root/kotlin/lib/kotlin-stdlib.jar" \
    -Djava.awt.headless=true org.jetbrains.kotlin.cli.jvm.K2JVMCompiler \
    -kotlin-home "$source_root/kotlin" -jvm-target 1.8 -module-name mlc4j -nowarn \
    -Xplugin="$source_root/kotlin/lib/kotlinx-serialization-compiler-plugin.jar" \
    -cp "$libraries:/build/work/stubs" -d /build/work/classes $(cat /build/work/kotlin-sources) $(cat /build/work/java-sources))
(cd sources && "$jdk/javac" -encoding UTF-8 -g --release 8 -Xlint:-options -cp "/build/work/classes:/build/work/stubs:$libraries" \
    -d /build/work/classes -h /build/work/headers @/build/work/java-sources)
test -e classes/ai/mlc/mlcllm/MLCEngine.class -a -e classes/ai/mlc/mlcllm/JSONFFIEngine.class

pack mlc4j classes
pack mlc4j-sources sources
# For the JNI library, under the name that its source includes it by.
install -D -m 644 headers/org_apache_tvm_LibInfo.h "$out/include/org_apache_tvm_native_c_api.h"
install -D -m 644 "$source_root/mlc-llm/LICENSE" "$out/licenses/mlc-llm/LICENSE"
install -D -m 644 "$tvm/LICENSE" "$out/licenses/tvm/LICENSE"
install -m 644 "$tvm/NOTICE" "$out/licenses/tvm/"
