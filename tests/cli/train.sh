#!/usr/bin/env bash
# hone train, on the tiny golden llama: options, report, files, stopping, lockstep; and hone data.
. "$(dirname "$0")/lib.sh"
tiny=$root/tests/golden/archs/llama
data=$tmp/data
mkdir "$data"
for i in 1 2 3 4 5 6 7 8; do echo '{"text": "the number '$i' of a few that we have"}'; done >"$data/train.jsonl"
head -n 2 "$data/train.jsonl" >"$data/valid.jsonl"
tail -n 1 "$data/train.jsonl" >"$data/test.jsonl"
train() { run "$hone" train --model "$tiny" --data "$data" --batch-size 2 --learning-rate 1e-2 --scale 2 "$@"; }

# ---- a training ----
train --iters 12 --steps-per-report 4 --steps-per-eval 6 --save-every 5 --adapter-path "$tmp/a" --train --test
is 0 "a training"
has out '^Trainable parameters: [0-9.]+% \(0\.[0-9]{3}M/0\.195M\)$' "trainable parameters as mlx-lm prints them"
has out "^Model: $tiny, computing in (f32|bf16) on [0-9]+ threads?, .* kernels \\(fused\\)\$" "what is used"
has out '^Iter 1: Val loss [0-9.]+, Val took [0-9.]+s$' "a validation before the first step"
n='[0-9.]+'
line="Iter 4: Train loss $n, Learning Rate 1\.000e-02, It/sec $n, Tokens/sec $n, Trained Tokens [0-9]+"
has out "^$line, Peak mem $n GB\$" \
    "a report line as mlx-lm prints it"
lacks out '^Iter 5: Train' "no report line between"
has out '^Iter 6: Val loss' "a validation every steps-per-eval"
has out '^Iter 12: Val loss' "a validation after the last step"
has out '^Iter 5: Saved adapter weights to ' "saves are told"
has out '^Test loss [0-9.]+, Test ppl [0-9.]+\.$' "the test's loss"
lacks err '.' "nothing on standard error when that is no terminal"
loss_of_training=$(sed -n 's/^Test loss \([0-9.]*\),.*/\1/p' "$tmp/out")
check "the adapter's files" test -s "$tmp/a/adapters.safetensors" -a -s "$tmp/a/adapter_config.json" -a \
    -s "$tmp/a/0000005_adapters.safetensors"
check "nothing is left beside them" test "$(ls "$tmp/a" | wc -l)" -eq 4
lacks out '^Adapter:' "an empty folder loses nothing"
cp -r "$tmp/a" "$tmp/again"
train --iters 1 --adapter-path "$tmp/again" --val-batches 0
has out "^Adapter: the one in $tmp/again is replaced" "an adapter that goes is told"
train --test --adapter-path "$tmp/a"
is 0 "--test alone"
lacks out 'Iter' "--test alone trains nothing"
has out "^Test loss $loss_of_training," "--test alone tests the adapter that was written"
train --test --adapter-path "$tmp/a" --json
has out '"final_loss":null,' "and has no loss of training"
train --test --adapter-path "$tmp/mistyped"
is 1 "--test with an adapter that is not there"
has err 'mistyped/adapter_config\.json' "names it"
run sh -c 'cd "$1" && "$2" train --model "$3" --data data --test' - "$tmp" "$(realpath "$hone")" "$tiny"
is 0 "--test without an adapter"
has err '^no adapter in adapters/: testing the model itself$' "says that the model itself is tested"
train --iters 1 --val-batches 0 --no-save --resume-adapter-file "$tmp/a/adapters.safetensors"
is 0 "going on from an adapter"
lacks out 'Val|Saved' "--no-save and --val-batches 0"
resume() {
    run "$hone" train --model "$tiny" --data "$data" --batch-size 2 --iters 1 --no-save --json --val-batches 0 "$@"
}
first_loss() { sed -n 's/.*"step","iter":1,"loss":\([0-9.]*\),.*/\1/p' "$tmp/out"; }
resume --resume-adapter-file "$tmp/a/adapters.safetensors" --scale 2
is 0 "going on with the scale that it was trained with"
trained=$(first_loss)
resume --resume-adapter-file "$tmp/a/adapters.safetensors"
check "is what happens without --scale, too: $trained" test -n "$trained" -a "$(first_loss)" = "$trained"
resume --resume-adapter-file "$tmp/a"
check "and with the adapter's folder" test "$(first_loss)" = "$trained"
for other in '--scale 20' '--rank 4' '--num-layers 1' '--keys q_proj'; do
    # shellcheck disable=SC2086
    resume --resume-adapter-file "$tmp/a" $other
    is 2 "going on with $other"
    has err "^hone train: ${other%% *}.* $tmp/a/adapter_config\.json .*leave out ${other%% *}\$" "is refused with both"
done
resume --resume-adapter-file "$tmp/a" --scale=20
has err '^hone train: --scale 20: .* trained with 2; ' "however it is written"
mkdir "$tmp/alone"
cp "$tmp/a/adapters.safetensors" "$tmp/alone"
resume --resume-adapter-file "$tmp/alone" --scale 2
check "without adapter_config.json the options count" test "$(first_loss)" = "$trained"
train --iters 2 --fine-tune-type full --adapter-path "$tmp/full" --learning-rate 1e-3
is 0 "full fine-tuning"
has err '^--scale is of adapters: --fine-tune-type full trains every weight\.$' "what it passes over is named"
lacks err 'rank|keys|num-layers' "and only that"
run "$hone" generate --model "$tmp/full" --raw --prompt 'the number' --max-tokens 3
is 0 "a fully tuned folder is a model"
for packing in isolate concat; do
    train --iters 2 --packing $packing --max-seq-length 32 --no-save --json
    is 0 "--packing $packing"
done

# ---- lines for programs ----
train --iters 6 --no-save --json --steps-per-eval 3
is 0 "--json"
cp "$tmp/out" "$tmp/first"
lacks out '^[^{]|[^}]$' "every line is an object"
lacks out '^[{][^"]*"[^e]' "and begins with its event"
has out '^\{"event":"start",.*"samples":8' "a start"
has out '"event":"start",.*"model":".*","compute":"(f32|bf16)","threads":[0-9]+,"kernels":".*","ops":"fused"' \
    "what is used"
has out '^\{"event":"step","iter":6,"loss":[0-9.]+,"tokens_per_sec":[0-9.]+,"peak_rss_mib":[0-9.]+,"seconds":' "steps"
has out '^\{"event":"validation","iter":3,"loss":' "validations"
tail -n 1 "$tmp/first" >"$tmp/last"
has "$tmp/last" "^\{\"event\":\"done\",.*\"tokens_per_sec_median\":$n,\"peak_rss_mib\":$n,\"final_loss\":$n," \
    "the last line is done"
has "$tmp/last" '"rms_norm":\[[0-9]+,36\],"rope_embeddings":\[0,0\],"swiglu_activation":\[[0-9]+,18\],' \
    "and counts calls"
losses() { sed -n 's/.*"step",\("iter":[0-9]*,"loss":[0-9.]*\),.*/\1/p' "$1"; }
losses "$tmp/first" >"$tmp/losses"
train --iters 6 --no-save --json --steps-per-eval 3 --threads 1
losses "$tmp/out" >"$tmp/losses1"
check "there are six losses" test "$(wc -l <"$tmp/losses")" -eq 6
check "the same losses on one thread" cmp "$tmp/losses" "$tmp/losses1"
lockstep() { # lines given
    yes '' | head -n "$1" | "$hone" train --model "$tiny" --data "$data" --iters 4 --no-save --json --lockstep \
        --batch-size 2 >"$tmp/out" 2>"$tmp/err"
    status=${PIPESTATUS[2]} last="hone train --lockstep"
}
lockstep 4
is 0 "--lockstep with a line for each step"
has out '"iter":4' "--lockstep makes all steps"
lockstep 2
is 0 "--lockstep ends well when its input does"
has out '"iter":2' "--lockstep makes a step for each line"
lacks out '"iter":3' "--lockstep makes no step without a line"

mkfifo "$tmp/lines"
"$hone" train --model "$tiny" --data "$data" --iters 4 --adapter-path "$tmp/waits" --json --lockstep --batch-size 2 \
    >"$tmp/out" 2>"$tmp/err" <"$tmp/lines" &
pid=$!
exec 7>"$tmp/lines"
echo >&7
for i in $(seq 200); do grep -q '"iter":1,' "$tmp/out" && break; sleep 0.05; done
kill -TERM $pid
wait $pid
status=$? last="hone train --lockstep, then kill -TERM while it waits"
exec 7>&-
is 1 "a signal ends the waiting for a line"
check "and what was learnt is saved" test -s "$tmp/waits/adapters.safetensors"

# An earlier adapter stays whole where the new one's weights do not fit on the disk.
cp -r "$tmp/a" "$tmp/kept"
run sh -c 'trap "" XFSZ; ulimit -f 1; exec "$@"' - "$hone" train --model "$tiny" --data "$data" --iters 1 --rank 4 \
    --scale 7 --adapter-path "$tmp/kept" --val-batches 0
is 1 "an adapter that cannot be written"
check "its configuration stays that of the weights" cmp "$tmp/a/adapter_config.json" "$tmp/kept/adapter_config.json"
check "and the weights stay" cmp "$tmp/a/adapters.safetensors" "$tmp/kept/adapters.safetensors"

# A context shorter than the rows.
mkdir "$tmp/short"
cp "$tiny"/* "$tmp/short"
sed -i 's/"max_position_embeddings": 256/"max_position_embeddings": 4/' "$tmp/short/config.json"
printf '{"text": "a \\u009b31m b \\u001b[0m"}\n' >"$tmp/escapes.jsonl"
run "$hone" data --model "$tiny" --data "$tmp/escapes.jsonl" --show 1
is 0 "rows with what a terminal would act on"
check "are shown without it" sh -c '! LC_ALL=C grep -q "$(printf "\033\\|\302\233")" "$1"' - "$tmp/out"
run "$hone" data --model "$tmp/short" --data "$data"
has out '^of them +8 cut to 4 tokens' "hone data cuts where training does"
run "$hone" train --model "$tmp/short" --data "$data" --iters 1 --no-save --val-batches 0
has out 'iterations of 4 x 4 tokens at most' "and training says so"

# Where the tokenizer does not know what ends a text, the model's configuration does.
mkdir "$tmp/ends"
cp "$tiny"/* "$tmp/ends"
sed -i '/"eos_token"/d' "$tmp/ends/tokenizer_config.json"
trained() { sed -n 's/.*"iter":4,.*"trained_tokens":\([0-9]*\)[,}].*/\1/p' "$tmp/out"; }
train --iters 4 --no-save --json --val-batches 0
with=$(trained)
run "$hone" train --model "$tmp/ends" --data "$data" --batch-size 2 --iters 4 --no-save --json --val-batches 0
check "rows end with it: $with" test -n "$with" -a "$(trained)" = "$with"

mkdir "$tmp/mixed"
printf '{"prompt": "%s", "completion": "%s"}\n' 'a b c d e f g h' x a 'b c d e f g h i' a b >"$tmp/mixed/train.jsonl"
run "$hone" train --model "$tiny" --data "$tmp/mixed" --batch-size 2 --iters 6 --no-save --json --max-seq-length 6 \
    --mask-prompt
is 0 "rows that are skipped or cut"
has out '"event":"done",.*"skipped":1,"truncated":2,' "are counted for programs"
check "and told once each" test "$(grep -c 'are skipped' "$tmp/err")$(grep -c 'Rows are cut' "$tmp/err")" = 11

# ---- stopping ----
interrupt() { # signal
    rm -rf "$tmp/s"
    "$hone" train --model "$tiny" --data "$data" --iters 1000000 --adapter-path "$tmp/s" --json \
        >"$tmp/out" 2>"$tmp/err" </dev/null &
    local pid=$! i
    for i in $(seq 200); do grep -q '"iter":3,' "$tmp/out" 2>/dev/null && break; sleep 0.05; done
    kill -"$1" $pid
    wait $pid
    status=$? last="hone train, then kill -$1"
}
set -m # else the shell lets background programs ignore SIGINT
for signal in INT TERM HUP; do
    interrupt $signal
    is 1 "SIG$signal stops"
    has err '^stopping after this step; again: at once$' "SIG$signal is answered"
    has err 'stopped after step [0-9]+ of 1000000; what was learnt is in ' "SIG$signal says so"
    check "SIG$signal saves" test -s "$tmp/s/adapters.safetensors"
    check "SIG$signal leaves nothing half-written" sh -c "! ls '$tmp/s' | grep -q tmp"
done
set +m
rm -rf "$tmp/s"
for reader in --json --steps-per-report=1; do
    "$hone" train --model "$tiny" --data "$data" --batch-size 2 --iters 100000 --save-every 0 --adapter-path "$tmp/s" \
        $reader 2>"$tmp/err" </dev/null | head -n 5 >"$tmp/out"
    status=${PIPESTATUS[0]} last="hone train $reader | head -n 5"
    is 1 "a closed pipe stops ($reader)"
    has err 'cannot write to standard output' "and says why"
    has err 'what was learnt in [0-9]+ of 100000 steps is in ' "and where what was learnt is"
    lacks err 'stopped after step' "and not that it was asked to"
    check "and saves" test -s "$tmp/s/adapters.safetensors" -a -s "$tmp/s/adapter_config.json"
    rm -rf "$tmp/s"
done

# ---- saves that fail ----
in_the_way() { # name: a folder where that file is to be written
    rm -rf "$tmp/w"
    mkdir -p "$tmp/w/$1/x"
    train --iters 3 --save-every 1 --adapter-path "$tmp/w" --val-batches 0 --json
}
in_the_way 0000001_adapters.safetensors
is 0 "a save on the way that fails"
has err '^hone train: warning: what was learnt in 1 steps could not be saved, going on: .*/0000001_adapters' \
    "is warned of"
has out '^\{"event":"save_failed","iter":1,"path":.*"problem":".*0000001_adapters' "and told to programs"
has out '"event":"saved","iter":3' "and the training goes on and saves"
check "the adapter itself" test -s "$tmp/w/adapters.safetensors" -a -s "$tmp/w/0000002_adapters.safetensors"
in_the_way adapters.safetensors
is 1 "the last save failing is a failure"
has err '^hone train: .*/adapters\.safetensors' "named"
if [ "$(id -u)" -eq 0 ] && unshare -m true 2>/dev/null; then
    mkdir -p "$tmp/small"
    # shellcheck disable=SC2016
    run unshare -m sh -c 'mount -t tmpfs -o size=16k none "$1" && shift && exec "$@"' - "$tmp/small" "$hone" train \
        --model "$tiny" --data "$data" --iters 1 --batch-size 2 --adapter-path "$tmp/small"
    is 1 "a disk without room for the adapter"
    has err '/small: the adapter takes [0-9.]+ MB and [0-9.]+ MB is free' "is told"
    lacks out '^Iter' "before the first step"
else
    skip "a disk without room for the adapter" "only root makes a small one"
fi

# ---- progress on a terminal ----
if script -qec true /dev/null </dev/null >"$tmp/out" 2>&1; then
    cp -r "$data" "$tmp/long"
    for i in $(seq 400); do cat "$data/train.jsonl"; done >"$tmp/long/valid.jsonl"
    TERM=xterm script -qec "'$hone' train --model '$tiny' --data '$tmp/long' --iters 1 --batch-size 2 --no-save \
        --val-batches -1" /dev/null </dev/null >"$tmp/out" 2>&1
    has out 'validating [0-9]+ of 1600' "a validation shows how far it is"
else
    skip "a validation shows how far it is" "no pseudo-terminal: $(tr -d '\r' <"$tmp/out" | tail -n 1)"
fi

# ---- names that are not UTF-8 ----
odd=$tmp/$(printf 'm\377del')
if cp -r "$tiny" "$odd" 2>/dev/null; then
    run "$hone" train --model "$odd" --data "$data" --batch-size 2 --iters 2 --json --adapter-path "$odd/ap"
    is 0 "a model's name that is not UTF-8"
    has out '"event":"saved","iter":2,"path":".*/m\?del/ap"' "its folder is told as far as JSON can"
    has "$odd/ap/adapter_config.json" '"model": ".*/m�del"' "and kept in the adapter"
else
    skip "a model's name that is not UTF-8" "there can be no such file here"
fi

# ---- data ----
run "$hone" data --model "$tiny" --data "$data" --show 1
is 0 "hone data"
has out '^rows +8 good, 0 faulty$' "hone data counts rows"
has out '^--- row 1: 1[0-9] tokens, 1[0-9] learnt$' "hone data shows rows"
has out '^\[.*the number 1 of a few that we have</s>\]$' "hone data marks what is learnt"
printf '%s\n' '{"text": "good"}' '{"text": 1}' 'x' >"$tmp/bad.jsonl"
run "$hone" data --model "$tiny" --data "$tmp/bad.jsonl"
is 1 "hone data with faulty rows"
has err 'bad\.jsonl: line 2: "text" is to be a string' "hone data names faulty rows"
has err 'bad\.jsonl: line 3, column 1: ' "hone data names all of them"
has out '^rows +1 good, 2 faulty$' "hone data counts faulty rows"
