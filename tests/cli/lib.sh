# Helper of the shell tests: source it first. Each check prints one line that tools/run-tests counts.
#
#   run CMD...            runs it; then $status, $tmp/out and $tmp/err hold what came of it
#   is STATUS NAME        ok when the last run exited so
#   has FILE RE NAME      ok when the last run's "out" or "err", or another file, has a line matching RE (grep -E)
#   lacks FILE RE NAME    ok when it has none
#   check NAME CMD...     ok when CMD succeeds
#   skip NAME REASON      counts as skipped
#   need_model            sets $model to the SmolLM2 file, or skips NAME and exits
# $hone is the program, $tmp a folder of this script's own that is removed at the end.
set -u
LC_ALL=C.UTF-8
export LC_ALL
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
build=${HONE_TEST_BUILD:-$root/build/release}
hone=${HONE_BIN:-$build/hone}
tmp=$(mktemp -d) || exit 1
failures=0 status=0
trap 'rm -rf "$tmp"; [ $failures -eq 0 ] || exit 1' EXIT

run() {
    last="$*"
    "$@" >"$tmp/out" 2>"$tmp/err" </dev/null
    status=$?
}

ok() { echo "ok - $1"; }

not_ok() {
    echo "not ok - $1"
    shift
    [ $# -eq 0 ] || printf '    %s\n' "$@"
    failures=$((failures + 1))
}

show() { # the last run, for a failure
    printf '    command: %s (exit %s)\n' "$last" "$status"
    tail -n 40 "$tmp/out" | sed 's/^/    out: /'
    tail -n 40 "$tmp/err" | sed 's/^/    err: /'
}

is() {
    if [ "$status" -eq "$1" ]; then ok "$2"; else
        not_ok "$2" "expected exit $1, got $status"
        show
    fi
}

file_of() { case $1 in out | err) echo "$tmp/$1" ;; *) echo "$1" ;; esac; }

has() {
    if grep -qE -- "$2" "$(file_of "$1")"; then ok "$3"; else
        not_ok "$3" "no line of $1 matches: $2"
        show
    fi
}

lacks() {
    if [ -e "$(file_of "$1")" ] && ! grep -qE -- "$2" "$(file_of "$1")"; then ok "$3"; else
        not_ok "$3" "$1 is missing or a line of it matches: $2"
        show
    fi
}

check() {
    local name=$1
    shift
    run "$@"
    if [ $status -eq 0 ]; then ok "$name"; else
        not_ok "$name"
        show
    fi
}

skip() { echo "ok - $1 # SKIP $2"; }

need_model() { # name of what is skipped without it
    model=${HONE_HOME:-${XDG_CACHE_HOME:-$HOME/.cache}/hone}/models/SmolLM2-135M-Instruct.Q4_1.gguf
    [ -e "$model" ] && return
    skip "$1" "$model is not here: run tools/fetch-model"
    exit 0
}
