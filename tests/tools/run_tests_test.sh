#!/usr/bin/env bash
# tools/run-tests counts what happened, whatever a test program does. A tree of its own holds made-up test scripts.
. "$(dirname "$0")/../cli/lib.sh"
tree=$tmp/tree
mkdir -p "$tree/tools" "$tree/tests/cli" "$tree/build"
cp "$root/tools/run-tests" "$tree/tools/"

fake() { # name, shell text
    printf '#!/bin/sh\n%s\n' "$2" >"$tree/tests/cli/$1.sh"
    chmod +x "$tree/tests/cli/$1.sh"
}
last_line() { # line, name
    if [ "$(tail -n 1 "$tmp/out")" = "$1" ]; then ok "$2"; else
        not_ok "$2" "expected: $1"
        show
    fi
}
runner() { run "$tree/tools/run-tests" "$@"; }
# What cmocka prints for three tests, one of each kind.
mixed='echo "[==========] Running 3 test(s)."; echo "[ RUN      ] a"; echo "[       OK ] a"
echo "[ RUN      ] b"; echo "[  ERROR   ] --- 0x1 != 0x2"; echo "[  FAILED  ] b"
echo "[ RUN      ] c"; echo "no model here"; echo "[  SKIPPED ] c"; echo "[==========] 3 test(s) run."
echo "[  PASSED  ] 1 test(s)."; echo "[  SKIPPED ] 1 test(s), listed below:"; echo "[  SKIPPED ] c"
echo "[  FAILED  ] 1 test(s), listed below:"; echo "[  FAILED  ] b"; exit 1'

runner "$tree/build"
is 1 "no test at all is a failure"
last_line "0 passed, 0 failed" "and is counted so"

fake good 'echo "[==========] 2 test(s) run."; echo "[  PASSED  ] 2 test(s)."'
runner "$tree/build"
is 0 "passing tests pass"
last_line "2 passed, 0 failed" "cmocka's count is taken"
runner -g "$tree/build"
last_line "2 passed, 0 failed, 0 skipped" "-g always names the skipped"
for jobs in 0 two; do
    run timeout 20 "$tree/tools/run-tests" -j $jobs "$tree/build"
    is 2 "$jobs at a time make no sense"
done

fake mixed "$mixed"
runner "$tree/build" mixed
is 1 "a failed test fails the run"
last_line "1 passed, 1 failed, 1 skipped" "each kind is counted"
has out 'skipped c: no model here' "a skip shows its reason"
has out '0x1 != 0x2' "a failure shows its output"
if tail -n 4 "$tmp/out" | head -n 3 | tr '\n' '|' | grep -q 'failed: cli/mixed|.*ERROR.*0x1 != 0x2|.*FAILED.* b|'; then
    ok "and the end tells it once more"
else
    not_ok "and the end tells it once more"
    show
fi

fake tap 'echo "ok - one"; echo "ok - two # SKIP no net"; echo "not ok - three"'
runner "$tree/build" tap
last_line "1 passed, 1 failed, 1 skipped" "scripts are counted line by line"
has out 'skipped two: no net' "with the reasons of skips"

fake silent 'exit 0'
runner "$tree/build" silent
last_line "0 passed, 1 failed" "a program that tests nothing has failed"
fake empty 'echo "[==========] 0 test(s) run."; echo "[  PASSED  ] 0 test(s)."'
runner "$tree/build" empty
last_line "0 passed, 1 failed" "so has an empty group"
fake crash 'echo "[ RUN      ] a"; echo "[       OK ] a"; kill -SEGV $$'
runner "$tree/build" crash
last_line "1 passed, 1 failed" "a crash is one failure"
has out 'signal 11' "and its signal is named"
fake leak 'echo "[  PASSED  ] 2 test(s)."; echo "ERROR: LeakSanitizer"; exit 23'
runner "$tree/build" leak
last_line "2 passed, 1 failed" "an exit status that no failed test explains is one failure"
fake slow 'echo "[ RUN      ] a"; sleep 30'
HONE_TEST_TIMEOUT=1 runner "$tree/build" slow
last_line "0 passed, 1 failed" "a program over its time is one failure"
has out 'longer than 1 s' "and the limit is named"

rm "$tree/tests/cli/slow.sh"

fake endless 'echo $$ >"$HONE_TEST_BUILD/pid"; exec sleep 600'
"$tree/tools/run-tests" "$tree/build" endless >/dev/null &
runner_pid=$!
until [ -s "$tree/build/pid" ]; do sleep 0.1; done
kill -TERM $runner_pid
wait $runner_pid
if kill -0 "$(<"$tree/build/pid")" 2>/dev/null; then
    kill "$(<"$tree/build/pid")"
    not_ok "an interrupted run leaves no program behind"
else
    ok "an interrupted run leaves no program behind"
fi
rm "$tree/tests/cli/endless.sh"

runner -j 3 "$tree/build"
last_line "7 passed, 6 failed, 2 skipped" "three at a time count the same"

mkdir -p "$tree/tests/base" "$tree/build/tests/base"
touch "$tree/tests/base/emulated_test.c"
printf '#!/bin/sh\n[ "$EMULATED" = yes ] && echo "[  PASSED  ] 1 test(s)."\n' >"$tree/build/tests/base/emulated_test"
chmod +x "$tree/build/tests/base/emulated_test"
fake native '[ -z "$EMULATED" ] && echo "ok - no emulator"'
runner -e "env EMULATED=yes" "$tree/build" base/ native
last_line "2 passed, 0 failed" "-e puts a command before programs, not before scripts"
