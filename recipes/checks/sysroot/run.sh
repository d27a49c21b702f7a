# Runs the program of the sysroot's test, in each mode that it was built in.
. /build/src/run.sh

for mode in unoptimized optimized; do
    cp -r "$source_root/dependencies/sysroot-test-program/bin/$mode" "$mode"
    chmod -R u+w "$mode"
    for program in language no_exceptions; do
        report "$program-$mode" run "$mode" "$program"
    done
done
