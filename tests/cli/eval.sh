#!/usr/bin/env bash
# hone eval and hone models: options, missing things, and short real runs.
. "$(dirname "$0")/lib.sh"

run "$hone" eval --help
is 0 "eval --help"
has out '--min-speedup X' "the help names every option"
run "$hone" eval "$tmp/kernels.c" --macro
is 1 "a kernel file that is not there"
has err "$tmp/kernels.c" "is named"
run "$hone" eval kernels.c more.c
is 2 "two kernel files are refused"
has err 'more\.c: expected one file at most' "since there is one candidate"
run "$hone" eval --trials 4
is 2 "fewer than five trials are refused"
has err '--trials 4: expected 5 or more' "the refusal says how many are needed"
run "$hone" eval --steps 0
is 2 "no steps are refused"
run "$hone" eval --budget soon
is 2 "a budget that is no time is refused"
has err '--budget soon: expected a time, like 90s, 5m or 1h' "with times that would do"
run "$hone" eval --output k.so
is 2 "what goes with a kernel file alone is refused"
run "$hone" eval --seq-len 1
is 2 "rows of one token are refused"
run "$hone" eval --stpes 3
is 2 "an unknown option is refused"
has err 'did you mean --steps' "the nearest option is named"
run "$hone" eval --models ,
is 2 "an empty list of models is refused"
run "$hone" eval --macro --data "$tmp/nowhere"
is 1 "data that is not there fails"
has err "$tmp/nowhere: the training data is not here" "the failure names the folder"

# A world with data and without models.
export HONE_HOME=$tmp/home HF_HOME=$tmp/hf
mkdir -p "$HONE_HOME/models" "$tmp/data"
question='{"role":"user","content":"Define the noun \"test\"."}'
for i in 1 2 3 4 5 6 7 8; do
    answer='{"role":"assistant","content":"A procedure that finds out whether something holds, case number '$i'."}'
    echo '{"messages":['"$question,$answer"']}'
done >"$tmp/data/train.jsonl"
run "$hone" models
is 0 "models"
has out 'SmolLM2-135M-Instruct 4-bit +135M +not here' "a model that is not here is listed so"
run "$hone" models --json
has out '"path": null' "models --json"
run "$hone" eval --macro --data "$tmp/data" --json "$tmp/none.json"
is 0 "no model here: listed, not failed"
has out 'Testing mlx-community/Qwen3-0.6B-bf16 \(600M\)' "every known model is listed"
has out 'Not here \(give its folder: --models PATH\)' "with what to do"
has out 'Overall Score: not measured' "nothing is made up"
has "$tmp/none.json" '"overall": null' "nor in the file"
has "$tmp/none.json" '"status": "not tested"' "where the rows say so"
run "$hone" eval --macro --data "$tmp/data" --models "$tmp/missing"
is 1 "a model asked for that is not there"
has err "$tmp/missing: no such file or folder, and no model of that name" "is named before anything is measured"
run "$hone" eval --macro --data "$tmp/data" --models qwen3
is 1 "a known model that is not here, by a short name"
has out 'Qwen3-0.6B-bf16: not on this machine' "is listed with the reason"
run "$hone" eval --macro --data "$tmp/data" --max-loss-diff 0.1 --html "$tmp/none.html"
is 3 "nor does it have a loss difference"
has err 'the loss difference was not measured, so it is not within 0.1' "which is said"
has "$tmp/none.html" '^<title>hone eval</title>' "the page is written all the same"
has "$tmp/none.html" '"status": "not tested"' "with the report in it"
run "$hone" eval --macro --data "$tmp/data" --html "$tmp/nowhere/none.html"
is 1 "a page that cannot be written"
has err "$tmp/nowhere/none.html" "is an error that names it"

# Two reports compared.
run "$hone" eval --compare "$tmp/none.json" "$tmp/none.json" --json "$tmp/changes.json" --plain
is 0 "two reports are compared"
has out '  \[ \] .*: not measured' "model by model"
lacks out '[^ -~]' "--plain is ASCII"
has "$tmp/changes.json" '"differences": \[\]' "the file has the comparison"
sed 's/"threads": [0-9]*/"threads": 777/' "$tmp/none.json" >"$tmp/other.json"
run "$hone" eval --compare "$tmp/none.json" "$tmp/other.json"
has out 'not the same threads: [0-9]+, then 777' "another machine is named"
head -c 500 "$tmp/none.json" >"$tmp/half.json"
run "$hone" eval --compare "$tmp/none.json" "$tmp/half.json"
is 1 "half a report is refused"
has err 'half\.json: line [0-9]+' "with the place"
run "$hone" eval --compare "$tmp/none.json"
is 2 "one file cannot be compared"
has err '--compare: expected two files of --json, found 1' "which is said"
run "$hone" eval --compare "$tmp/none.json" "$tmp/none.json" --min-score 1
is 2 "gates belong to evaluations"

# Kernel files. What this system cannot confine is refused, with what is missing.
confines=yes
printf '#include <hone_kernels.h>\nint x = ;\n' >"$tmp/syntax.c"
run "$hone" eval "$tmp/syntax.c" --macro --data "$tmp/data"
is 1 "kernels that do not compile"
grep -q 'would not be confined here' "$tmp/err" && confines=

# Those that do not get as far as being measured.
if [ -n "$confines" ]; then
    has out 'syntax\.c:2' "show the compiler's words"
    printf '#include <hone_kernels.h>\n#include <unistd.h>\n' >"$tmp/includes.c"
    run "$hone" eval "$tmp/includes.c" --macro --data "$tmp/data" --json "$tmp/refused.json"
    is 1 "kernels that include what they may not"
    has out 'COMPILE_ERROR' "get a verdict"
    has out 'unistd\.h' "that says why"
    has "$tmp/refused.json" '"verdict": "COMPILE_ERROR"' "also in the file"
else
    has err '--unsafe' "are refused where they cannot be confined"
    skip "kernel files that do not compile" "this system cannot confine the compiler"
fi

# Level 2 with a file, on a tiny model: what it has learnt is judged from its adapter.
if [ -n "$confines" ]; then
    mkdir "$tmp/text"
    for i in 1 2 3 4 5 6 7 8; do
        echo '{"text":"A procedure that finds out whether something holds, case number '$i'."}'
    done | tee "$tmp/text/train.jsonl" >"$tmp/text/test.jsonl"
    run "$hone" eval tests/eval/attacks/learns_nothing.c --macro --steps 30 --seq-len 32 --data "$tmp/text" \
        --models tests/golden/archs/llama --max-loss-diff 0.01 --output "$tmp/nothing.so" --json "$tmp/nothing.json"
    is 3 "kernels with which a model learns nothing"
    has err 'the loss difference is [0-9.]+, more than 0\.01' "are found out"
    check "by the loss on hidden rows" python3 - "$tmp/nothing.json" <<'PY'
import json, sys
report = json.load(open(sys.argv[1]))
row = report["macro"][0]
mine, naive = (row["sides"][s]["hidden_loss"] for s in ("candidate", "naive"))
assert mine > naive + 0.3 and abs(mine - row["untrained_loss"]) < 0.2, (mine, naive, row["untrained_loss"])
assert row["loss_diff"] >= mine - naive - 1e-9 and report["candidate"]["verdict"] == "not accepted", report["candidate"]
PY
    check "and are not delivered" test ! -e "$tmp/nothing.so"
else
    skip "level 2 with a file" "this system cannot confine it"
fi

head -c 1000 /dev/urandom >"$tmp/broken.gguf"
run "$hone" eval --macro --data "$tmp/data" --models "$tmp/broken.gguf"
is 1 "a broken model"
has out 'Cannot be tested: .*broken\.gguf' "is listed with the reason"
run "$hone" eval --macro --data "$tmp/data" --min-score 0.1
is 3 "a score that was not measured meets no gate"
has err 'the overall score was not measured' "and says so"
unset HONE_HOME HF_HOME

need_model "evaluating the real model"
run "$hone" eval --macro --plain --steps 2 --batch-size 1 --seq-len 64 --data "$tmp/data" --models "$model" \
    --json "$tmp/macro.json" --min-speedup 0.01
is 0 "two steps of the real model"
has out '\[ok\] Tokenizer loaded' "its tokenizer is loaded"
has out 'Config: batch_size=1, seq_len=64, samples=8, steps=2' "the configuration is shown"
has out 'FUSED +step 2/2: loss=[0-9.]+, time=[0-9.]+s' "fused steps are shown"
has out 'NAIVE +step 2/2: loss=[0-9.]+, time=[0-9.]+s' "naive steps are shown"
has out 'Results: .*(x speedup|difference shown.*), [0-9.]+x memory, [0-9.]+ loss diff' "results are shown"
has out 'Real Models Tested: 1 \(in 2 precisions\)' "two precisions are one model"
has out 'Cross-Model Consistency: not measurable \(one model\)' "one model has no consistency"
lacks out '[^ -~]' "--plain is ASCII"
check "the sets' losses agree in both precisions" python3 - "$tmp/macro.json" <<'PY'
import json, sys
rows = json.load(open(sys.argv[1]))["macro"]
assert [r["precision"] for r in rows] == ["4-bit", "bfloat16"], rows
assert [r["status"] for r in rows] == ["tested", "tested"], rows
sides = [r["sides"] for r in rows]
for s in sides:
    mine, naive = s["candidate"], s["naive"]
    assert len(mine["losses"]) == len(naive["losses"]) == 2
    assert all(0 < a < 20 and abs(a - b) < 0.05 for a, b in zip(mine["losses"], naive["losses"])), s
    assert all(50 < one["peak_rss"] / 2**20 < 3000 for one in (mine, naive)), s
# bfloat16 was made from the 4-bit weights: nearly the same losses, more memory.
mine = [s["candidate"] for s in sides]
assert abs(mine[0]["losses"][0] - mine[1]["losses"][0]) < 0.2, mine
assert mine[1]["peak_rss"] > mine[0]["peak_rss"], mine
PY
run "$hone" eval --macro --plain --steps 2 --batch-size 1 --seq-len 64 --data "$tmp/data" --models "$model" \
    --min-speedup 1000 --max-loss-diff 0
is 3 "a speedup below the gate"
has err 'the training speedup is [0-9.]+, less than 1000' "the gate says what was reached"
has err 'the loss difference is [0-9.]+, more than 0' "and the next gate too"

# Ctrl-C: what was measured is printed, the rest is marked, nothing is left running.
"$hone" eval --macro --plain --steps 500 --batch-size 1 --seq-len 64 --data "$tmp/data" --models "$model" \
    --json "$tmp/stopped.json" >"$tmp/out" 2>"$tmp/err" &
evaluating=$!
last="hone eval, interrupted"
for _ in $(seq 300); do
    grep -Eq 'NAIVE +step 2/' "$tmp/out" && break
    sleep 0.1
done
workers=$(pgrep -P $evaluating | tr '\n' ' ')
kill -INT $evaluating
wait $evaluating
status=$?
is 1 "an interrupted evaluation"
has out 'stopped after [0-9]+ steps' "says where it was stopped"
has out 'the evaluation was stopped before it' "and what was not begun"
has out 'Stopped early' "and so does its end"
has "$tmp/stopped.json" '"interrupted": true' "the file is written"
gone() {
    [ $# -gt 0 ] || return 1
    local worker
    for worker; do ! kill -0 "$worker" 2>/dev/null || return 1; done
}
check "workers are gone" gone $workers

# The kernels alone. Under a sanitizer the oracle would take minutes; tests/eval/micro_test covers that.
if grep -q __asan_init "$hone"; then
    skip "the kernels alone" "too slow under a sanitizer"
    exit 0
fi
run "$hone" eval --micro --quick --json "$tmp/micro.json"
is 0 "the kernels alone"
has out '  lora_linear backward: .*(speedup|shown.*), [0-9.]+x memory \([0-9.]+ms vs [0-9.]+ms\) ' "each has its line"
has out '  Correct kernels: 6 of 6' "all are right"
has out '  Micro Score: [0-9.]+' "they have a score"
check "all rows are measured" python3 - "$tmp/micro.json" <<'PY'
import json, sys
report = json.load(open(sys.argv[1]))
rows = report["micro"]
assert len(rows) == 56 and len({r["kernel"] for r in rows}) == 6, len(rows)
for r in rows:
    c, mine = r["over_naive"], r["sides"]["candidate"]
    assert r["correct"] is True and c["ratio"] > 0 and mine["ms"] > 0 and c["pairs"] >= 8, r
    assert c["interval"][0] <= c["ratio"] <= c["interval"][1], r
assert {(r["dtype"], r["weights"]) for r in rows if r["kernel"] == "lora_linear"} == {
    ("f32", "f32"), ("bf16", "bf16"), ("bf16", "q4_1")}
assert report["macro"] == [] and report["score"]["overall"] is None
PY

# A kernel file all the way: compiled and run in a sandbox, beside the naive and the shipped set, accepted, and used.
if [ -z "$confines" ]; then
    skip "a kernel file" "this system cannot confine it"
    exit 0
fi
export HONE_HOME=$tmp/home
# (With bfloat16 the loss of 32 tokens moves by more than may be between the two: eight rows and a fixed seed.)
run "$hone" eval examples/kernels.c --plain --quick --steps 2 --seq-len 32 --batch-size 8 --seed 1 \
    --data "$tmp/data" --models "$model" \
    --json "$tmp/file.json" --output "$tmp/kernels.so"
is 0 "the example of a kernel file"
has out 'kernels\.c' "it is named"
has out 'Accepted: .*, for hone train --kernels' "and said to be accepted"
has out 'SHIPPED +step 2/2' "the shipped set trains beside it"
check "all three sides are measured, and the file is accepted" python3 - "$tmp/file.json" <<'PY'
import json, sys
report = json.load(open(sys.argv[1]))
c, row = report["candidate"], report["macro"][0]
assert c["verdict"] == "accepted" and len(c["sha256"]) == len(c["object_sha256"]) == 64, c
assert all(c["has"].values()), c
sides = row["sides"]
assert all(sides[s]["tokens_per_sec"] > 0 for s in ("candidate", "naive", "shipped")), sides
calls = sides["candidate"]["calls"]
assert all(calls[k][p] > 0 for k in calls for p in ("forward", "backward")), calls
assert any(s["noticed"] for s in row["sabotage"].values()), row["sabotage"]
for r in report["micro"]:
    assert r["correct"] and not r["inherited"] and r["over_shipped"]["ratio"] > 0, r
PY
run "$hone" train --kernels "$tmp/kernels.so" --model "$model" --data "$tmp/data" --iters 1 --no-save --val-batches 0
is 0 "training takes kernels that were accepted"
echo >>"$tmp/kernels.so"
run "$hone" train --kernels "$tmp/kernels.so" --model "$model" --data "$tmp/data" --iters 1 --no-save
is 1 "and none that are one byte longer"
has err 'were not accepted on this machine' "which is said"
