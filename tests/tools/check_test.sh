#!/usr/bin/env bash
# Small trees with one mistake each: the check must name it; and one without, which must pass.
set -uo pipefail
tools=$(cd "$(dirname "$0")/../../tools" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0

# expect OUTCOME CHECK FILE CONTENT: runs CHECK over a tree that holds only FILE.
expect() {
  local outcome=$1 check=$2 file=$3 content=$4 tree output
  tree=$(mktemp -d -p "$work")
  mkdir -p "$tree/$(dirname "$file")" "$tree/tools"
  printf '%s\n' "$content" >"$tree/$file"
  echo base/secret_bytes.cpp >"$tree/tools/secret_doors.txt"
  output=$("$tools/$check" "$tree" 2>&1)
  local code=$?
  if [[ $outcome == refused && ($code -eq 0 || $output != *"$file"*) ]] ||
    [[ $outcome == accepted && $code -ne 0 ]]; then
    echo "FAILED: $check should have $outcome $file: $content"
    echo "  it said: $output"
    failures=$((failures + 1))
  fi
}

expect accepted check_direction src/core/cache.cpp '#include "base/http.h"'
expect accepted check_direction src/core/cache.cpp '#include "core/cache.h"'
expect accepted check_direction src/core/cache.cpp '#include "betrace/kms/key.h"'
expect accepted check_direction src/app/wiring.cpp '#include "net/http_server.h"'
expect refused check_direction src/core/cache.cpp '#include "stores/sqlite_store.h"'
expect refused check_direction src/core/cache.cpp '#include "app/wiring.h"'
expect refused check_direction src/base/http.cpp '#include "telemetry/log.h"'
expect refused check_direction include/betrace/kms/key.h '#include "base/http.h"'
expect refused check_direction src/api/routes.cpp '  #  include "unheard_of/thing.h"'
expect accepted check_direction src/stores/sqlite_store.cpp '#include <sqlite3.h>'
expect refused check_direction src/core/cache.cpp '#include <sqlite3.h>'
expect refused check_direction src/api/router.cpp '#include <boost/beast/http.hpp>'
expect refused check_direction src/app/daemon.cpp '#include <boost/asio.hpp>'
expect refused check_direction src/providers/aws.cpp '#include <curl/curl.h>'
expect refused check_direction src/api/json.cpp '#include <openssl/evp.h>'
expect refused check_direction include/betrace/kms/signer.h '#include <sodium.h>'
expect accepted check_direction src/base/secret_bytes.cpp 'auto view = key.expose();'
expect refused check_direction src/api/json.cpp 'auto view = key->expose();'
expect refused check_direction src/api/json.cpp 'auto view = key.expose_mutable();'

long=$(printf 'x%.0s' {1..101})
expect accepted check_sizes src/core/cache.cpp '// TODO(#12): weigh entries.'
expect refused check_sizes src/core/cache.cpp '// TODO: weigh entries.'
expect refused check_sizes src/core/cache.cpp '// good enough for now'
expect refused check_sizes src/core/cache.cpp "// a placeholder"
expect refused check_sizes src/core/cache.cpp "// $long"
expect accepted check_sizes src/core/cache.cpp "// ${long:0:97}"
expect refused check_sizes tests/unit/core/cache_test.cpp "$(seq 501)"
expect accepted check_sizes tests/unit/core/cache_test.cpp "$(seq 500)"

((failures == 0)) && echo "all checks refuse and accept as they should"
exit $((failures > 0))
