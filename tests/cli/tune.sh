#!/usr/bin/env bash
# hone tune: what it shows and keeps, who uses it, and files and homes that are no good. Short runs: what they find
# does not matter here.
. "$(dirname "$0")/lib.sh"
tiny=$root/tests/golden/archs/llama
export HONE_HOME=$tmp/home
kept=$HONE_HOME/tuning.json

run "$hone" tune --help
is 0 "tune --help"
has out '--reset +remove what was kept' "the help names every option"
has out 'same to the last bit' "and says what tuning changes"
run "$hone" tune --seconds 61
is 2 "more than a minute is refused"
has err '--seconds 61: expected 1 to 60' "with what is allowed"
run "$hone" tune --seconds 0
is 2 "no time is refused"
run "$hone" tune --compute f64
is 2 "an unknown type is refused"
run "$hone" tune --threads -1
is 2 "fewer threads than none are refused"
run "$hone" tune --rest
has err 'did you mean --reset' "the nearest option is named"
check "nothing was written so far" test ! -e "$HONE_HOME"
run "$hone" info
has out '^blocking +f32: [0-9]+ KiB of packed weights, [0-9]+ rows of loss \(default; `hone tune` has not been run' \
    "info shows the defaults and how to change them"

started=$(date +%s%N)
run "$hone" tune --seconds 2 --compute f32
took=$((($(date +%s%N) - started) / 1000000))
is 0 "a short run"
has out '^packed_bytes +[0-9]+ KiB for [0-9]+ KiB ' "each candidate has its line"
has out '^loss_rows +[0-9]+ for [0-9]+ ' "of both constants"
has out '^(Nothing was clearly faster than the defaults|Chosen): [0-9]+ KiB of packed weights, [0-9]+ rows of loss' \
    "then what is used"
if grep -q '^Nothing' "$tmp/out" && grep -q 'x  \[' "$tmp/out"; then
    has out '^The intervals were up to [0-9.]+% wide: .*a busy machine' "and how small a gain could have been seen"
else
    skip "how small a gain could have been seen" "something was faster, or nothing was measured"
fi
has out "^Kept in $kept\$" "and where it is kept"
lacks err '.' "nothing on standard error"
# Never a measure of speed: the limit is far above what was asked for, and far below a run without one.
check "it ends by the time that was given" test $took -lt 30000
check "the file says whose it is" python3 - "$kept" <<'PY'
import json, sys
kept = json.load(open(sys.argv[1]))
whose = ("hone", "processor", "gemm_f32", "gemm_bf16", "vectors")
assert all(isinstance(kept[k], str) and kept[k] for k in whose), kept
assert kept["bf16"] == {} and set(kept["f32"]) <= {"packed_bytes", "loss_rows"}, kept
PY
run "$hone" tune --seconds 2 --compute f32 --json
is 0 "a run for programs"
check "its object is whole" python3 - "$tmp/out" <<'PY'
import json, sys
lines = open(sys.argv[1]).read().splitlines()
assert len(lines) == 1, lines
r = json.loads(lines[0])
assert r["compute"] == "f32" and r["threads"] >= 1 and 64 <= r["rows"] <= 1024, r
assert r["chosen"] is None or set(r["chosen"]) == set(r["defaults"]) == {"packed_bytes", "loss_rows"}, r
assert {t["constant"] for t in r["trials"]} >= {"packed_bytes", "loss_rows"}, r
for t in r["trials"]:
    low, high = t["interval"]
    assert (t["gain"] is None) == (t["pairs"] < 5), t
    assert t["gain"] is None or low <= t["gain"] <= high, t
assert r["chosen"] is None or (r["trials"][-1]["constant"] == "all" and r["trials"][-1]["interval"][0] > 1), r
PY

# A file of this machine with values of ours: put in place of whatever was found.
keep() { # python statement that changes `kept`
    python3 - "$kept" "$1" <<'PY'
import json, sys
kept = json.load(open(sys.argv[1]))
exec(sys.argv[2])
json.dump(kept, open(sys.argv[1], "w"))
PY
}
keep 'kept["f32"] = {"packed_bytes": 65536, "loss_rows": 9}'
run "$hone" info
has out '^blocking +f32: 64 KiB of packed weights, 9 rows of loss \(from `hone tune`\)' "info shows what was kept"
same() { # name: the last output is that of the tuned run
    cp "$tmp/out" "$tmp/now"
    check "$1" cmp "$tmp/tuned" "$tmp/now"
}
generate() { run "$hone" generate --model "$tiny" --raw --prompt 'a thing' --max-tokens 8 --ignore-eos --quiet "$@"; }
generate
is 0 "generate with it"
lacks err '.' "silently"
cp "$tmp/out" "$tmp/tuned"
run "$hone" tune --seconds 1 --compute bf16
has "$kept" '"packed_bytes": 65536' "tuning for bf16 leaves what was kept for f32"

keep 'kept["processor"] = "Another Processor"'
run "$hone" info
is 0 "another machine's file"
has out 'f32: .*\(default; ' "is not used"
lacks err '.' "and not spoken of"
keep 'kept["processor"] = 7'
generate
is 0 "a corrupt file does not stop anything"
has err '^hone generate: .*tuning\.json.*processor.*defaults.*hone tune --reset' "but is warned of, with what to do"
lines=$(wc -l <"$tmp/err")
same "the same text with any blocking"
check "warned of in one line" test "$lines" -eq 1
head -c 300 /dev/urandom >"$kept"
run "$hone" info
is 0 "no JSON at all"
has err 'tuning\.json' "is warned of"
has out 'f32: .*\(default; ' "and not used"
printf '{"prompt": "a thing", "completion": " is a thing"}\n{"prompt": "is", "completion": " it"}\n' >"$tmp/data.jsonl"
run "$hone" train --model "$tiny" --data "$tmp/data.jsonl" --iters 1 --batch-size 1 --val-batches 0 --no-save
is 0 "training goes on, too"
has err '^hone train: .*tuning\.json' "with its warning"
run "$hone" tune --seconds 1
is 0 "tuning writes it anew"
run "$hone" info
lacks err '.' "and it is good again"

run "$hone" tune --reset
is 0 "reset"
has out "^Removed $kept" "says what it removed"
check "and it is gone" test ! -e "$kept"
check "with nothing left beside it" test -z "$(ls -A "$HONE_HOME")"
run "$hone" tune --reset
is 0 "reset of nothing"
has out 'Nothing was kept' "says so"
generate
is 0 "generate without it"
same "still the same text"

: >"$tmp/file"
export HONE_HOME=$tmp/file/home
run "$hone" tune --seconds 1
is 1 "a home that cannot be written"
has err "^hone tune: .*$tmp/file" "is named"
has out '^(Nothing was clearly faster than the defaults|Chosen)' "and what was measured is shown all the same"
lacks out '^Kept' "as not kept"
unset HONE_HOME

# Ctrl-C: nothing is written.
export HONE_HOME=$tmp/stopped
"$hone" tune --seconds 60 >"$tmp/out" 2>"$tmp/err" &
tuning=$!
last="hone tune, interrupted"
sleep 2
kill -INT $tuning
wait $tuning
status=$?
is 1 "an interrupted run"
has err 'hone tune: stopped' "says so"
check "and keeps nothing" test ! -e "$HONE_HOME"
