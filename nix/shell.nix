# The Rust of rust-toolchain.toml, and the tools that the environments hold, to try things outside of a build.
{ mkShell, llvmPackages_18, cmake, ninja, jdk21_headless, wineWow64Packages, nix, skopeo, toolchain }:
mkShell {
  packages = [
    toolchain
    llvmPackages_18.clang
    llvmPackages_18.lld
    llvmPackages_18.llvm
    cmake
    ninja
    jdk21_headless
    wineWow64Packages.stable
    nix
    skopeo
  ];
}
