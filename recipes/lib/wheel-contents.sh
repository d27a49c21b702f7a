# Unpacks every wheel into a directory of its recipe's name.
for wheel in /build/src/dependencies/*-wheel/*.whl; do
    python3 -I /build/src/unpack.py "$wheel" "/build/out/$(basename "$(dirname "$wheel")")"
done
