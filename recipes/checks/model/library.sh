# Writes small models, and compiles each for the devices of $TARGET, in both kinds: objects/MODEL-KIND-DEVICE.
readonly out=/build/out packages=/build/src/packages
export PYTHONDONTWRITEBYTECODE=1
export PYTHONPATH=$packages/tvm:$packages/tvm-ffi:$packages/ml-dtypes:$packages/numpy:$packages/typing-extensions

python3 /build/src/model/tiny.py "$out/models"

# compile_model DIRECTORY MODEL KIND DEVICE SEED: the seed of Python's hashes must not matter.
compile_model() {
    PYTHONHASHSEED=$5 python3 /build/src/model/compile.py "$out/models/$2/mlc-chat-config.json" "$1" --kind "$3" --target "$4"
    # Debugging sections are as large as the rest, and of no use without sources.
    llvm-strip --strip-debug "$1"/*.o
}

case $TARGET in
*-windows-msvc) targets=(windows windows-opencl) ;;
*-linux-gnu) targets=(linux linux-opencl) ;;
*-linux-android) targets=(android-opencl) ;;
esac
jobs=()
for target in "${targets[@]}"; do
    device=cpu
    [[ $target != *-opencl ]] || device=opencl
    for model in qwen2 llama; do
        jobs+=("$out/objects/$model-plain-$device $model plain $target 1")
    done
    jobs+=("$out/objects/qwen2-paged-$device qwen2 paged $target 1")
    # Once more, by another process, with another seed and in a directory with a longer name.
    jobs+=("/build/work/compiled-once-more/$device qwen2 plain $target 2")
done
mkdir "$out/objects" compiled-once-more
# As many at a time as there are processors for; each takes 300 MB.
running=0
for job in "${jobs[@]}"; do
    if [ "$running" -ge "${JOBS:-1}" ]; then
        wait -n
        running=$((running - 1))
    fi
    # shellcheck disable=SC2086 # Words, none of which has a space.
    compile_model $job &
    running=$((running + 1))
done
while [ "$running" -gt 0 ]; do
    wait -n
    running=$((running - 1))
done
for once_more in compiled-once-more/*; do
    diff -r "$once_more" "$out/objects/qwen2-plain-${once_more##*/}"
done
