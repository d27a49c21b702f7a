# Links the objects of the model libraries for the processor, runs them by a C++ program, and compares what they compute.
readonly sources=/build/src/model library=/build/src/dependencies/model-library
readonly ffi=/build/src/packages/tvm-ffi/tvm_ffi runtime=/build/src/packages/tvm/tvm/lib

clang++ -std=c++17 -O1 -I"$ffi/include" -o run_model "$sources/run_model.cc" -L"$ffi/lib" -ltvm_ffi
export LD_LIBRARY_PATH=$ffi/lib:$runtime
for name in qwen2-plain llama-plain qwen2-paged; do
    # What an object needs, and neither library has, is named here and not by a crash where it is loaded.
    clang -shared -fuse-ld=lld -Wl,--no-undefined -o "$name.so" "$library/objects/$name-cpu"/*.o \
        -L"$runtime" -ltvm_runtime -L"$ffi/lib" -ltvm_ffi -lm
    python3 "$sources/compare.py" prompts "${name%%-*}" | while read -r prompt count; do
        answer=$(./run_model "$library/models/${name%%-*}" "./$name.so" "$runtime/libtvm_runtime.so" cpu "$prompt" "$count" </dev/null)
        printf '{"library": "%s", "prompt": "%s", "answer": %s}\n' "$name" "$prompt" "$answer"
    done
done >answers.jsonl
status=0
python3 "$sources/compare.py" answers answers.jsonl >/build/out/cpu.txt || status=$?
cat /build/out/cpu.txt
exit "$status"
