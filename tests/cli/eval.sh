#!/usr/bin/env bash
# hone eval and hone models: options, missing things, and short real runs.
. "$(dirname "$0")/lib.sh"

run "$hone" eval --help
is 0 "eval --help"
has out '--min-speedup X' "the help names every option"
run "$hone" eval kernels.c
is 2 "a kernel file is refused"
has err 'kernels\.c: this version evaluates the built-in kernels' "the refusal says why"
run "$hone" eval --trials 4
is 2 "fewer than five trials are refused"
has err '--trials 4: expected 5 or more' "the refusal says how many are needed"
run "$hone" eval --steps 0
is 2 "no steps are refused"
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
has out 'no such file or folder' "is listed with the reason"
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
has out 'FUSED  step 2/2: loss=[0-9.]+, time=[0-9.]+s' "fused steps are shown"
has out 'NAIVE  step 2/2: loss=[0-9.]+, time=[0-9.]+s' "naive steps are shown"
has out 'Results: [0-9.]+x speedup, [0-9.]+x memory, [0-9.]+ loss diff' "results are shown"
has out 'Real Models Tested: 1 \(in 2 precisions\)' "two precisions are one model"
has out 'Cross-Model Consistency: not measurable \(one model\)' "one model has no consistency"
lacks out '[^ -~]' "--plain is ASCII"
check "the sets' losses agree in both precisions" python3 - "$tmp/macro.json" <<'PY'
import json, sys
rows = json.load(open(sys.argv[1]))["macro"]
assert [r["precision"] for r in rows] == ["4-bit", "bfloat16"], rows
assert [r["status"] for r in rows] == ["tested", "tested"], rows
for r in rows:
    assert len(r["losses"]) == len(r["naive_losses"]) == 2
    assert all(0 < a < 20 and abs(a - b) < 0.05 for a, b in zip(r["losses"], r["naive_losses"])), r
    assert 50 < r["peak_rss_mib"] < 3000 and 50 < r["naive_peak_rss_mib"] < 3000, r
# bfloat16 was made from the 4-bit weights: nearly the same losses, more memory.
assert abs(rows[0]["losses"][0] - rows[1]["losses"][0]) < 0.2, rows
assert rows[1]["peak_rss_mib"] > rows[0]["peak_rss_mib"], rows
PY
run "$hone" eval --macro --plain --steps 2 --batch-size 1 --seq-len 64 --data "$tmp/data" --models "$model" \
    --min-speedup 1000
is 3 "a speedup below the gate"
has err 'the training speedup is [0-9.]+, less than 1000' "the gate says what was reached"

# Ctrl-C: what was measured is printed, the rest is marked, nothing is left running.
"$hone" eval --macro --plain --steps 500 --batch-size 1 --seq-len 64 --data "$tmp/data" --models "$model" \
    --json "$tmp/stopped.json" >"$tmp/out" 2>"$tmp/err" &
evaluating=$!
last="hone eval, interrupted"
for _ in $(seq 300); do
    grep -q 'NAIVE  step 2/' "$tmp/out" && break
    sleep 0.1
done
workers=$(pgrep -P $evaluating | tr '\n' ' ')
kill -INT $evaluating
wait $evaluating
status=$?
is 1 "an interrupted evaluation"
has out 'stopped after [0-9]+ of 500 steps' "says where it was stopped"
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
run "$hone" eval --micro --trials 5 --json "$tmp/micro.json"
is 0 "the kernels alone"
has out '  lora_linear backward: [0-9.]+x speedup, [0-9.]+x memory \([0-9.]+ms vs [0-9.]+ms\) ' "each has its line"
has out '  Correct kernels: 6 of 6' "all are right"
has out '  Micro Score: [0-9.]+' "they have a score"
check "all rows are measured" python3 - "$tmp/micro.json" <<'PY'
import json, sys
report = json.load(open(sys.argv[1]))
rows = report["micro"]
assert len(rows) == 112 and len({r["kernel"] for r in rows}) == 6, len(rows)
for r in rows:
    assert r["correct"] is True and r["speedup"] > 0 and r["ms"] > 0 and r["trials"] >= 8, r
    assert r["speedup_interval"][0] <= r["speedup"] <= r["speedup_interval"][1], r
assert {(r["dtype"], r["weights"]) for r in rows if r["kernel"] == "lora_linear"} == {
    ("f32", "f32"), ("bf16", "bf16"), ("bf16", "q4_1")}
assert report["macro"] == [] and report["score"]["overall"] is None
PY
