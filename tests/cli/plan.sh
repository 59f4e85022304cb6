#!/usr/bin/env bash
# hone train --plan and --mem-limit on the real model: the plan against the measured peak, limits that are kept, and
# refusals whose advice holds.
. "$(dirname "$0")/lib.sh"

# ---- sizes ----
tiny=$root/tests/golden/archs/llama
mkdir "$tmp/data"
# As large as a real one: 15 MiB, of which every step reads rows from all over the file.
awk 'BEGIN { for (i = 1; i <= 150000; i++) printf "{\"text\": \"row %d of a data set, made of words and of nothing " \
    "else but words, and of the number %d\"}\n", i, i }' >"$tmp/data/train.jsonl"
for size in 0 -1 12X 0x10 1e3 1.5.5 99999999999G M ''; do
    run "$hone" train --model "$tiny" --data "$tmp/data" --plan --mem-limit "$size"
    is 2 "--mem-limit '$size' is a mistake"
    has err 'expected a size, like 400M or 1\.5G' "and is told so"
done
for size in 1.5G 600MiB 2000000K 1073741824; do
    check "--mem-limit $size" "$hone" train --model "$tiny" --data "$tmp/data" --max-seq-length 64 --plan \
        --mem-limit "$size"
done
has out '^Total at most +[0-9.]+$' "the plan's total"
run "$hone" train --model "$tiny" --data "$tmp/data" --plan --test
is 2 "--plan with nothing to train"

need_model "the plan against the measured peak"
train() {
    run "$hone" train --model "$model" --data "$tmp/data" --packing concat --batch-size 2 --max-seq-length 128 \
        --num-layers -1 --iters 2 --val-batches 0 --no-save --json "$@"
}
number() { sed -n 's/.*"'"$1"'":\([0-9.]*\).*/\1/p' "$tmp/out" | tail -n 1; }
# The measured peak in MiB, of all steps.
peak() { number peak_rss_mib; }
within() { # PLAN PEAK: not below it, and at most 5% above
    awk -v plan="$1" -v peak="$2" 'BEGIN { exit !(peak > 0 && plan >= peak && plan <= 1.05 * peak) }'
}

# ---- plan and peak ----
for options in "" "--grad-checkpoint" "--fine-tune-type full" "--compute bf16 --grad-checkpoint"; do
    # shellcheck disable=SC2086
    train $options --plan
    is 0 "a plan ${options:-of an adapter}"
    has out '^\{"event":"plan","program":[0-9]+,' "is one object"
    lacks out '"event":"(start|step)"' "and trains nothing"
    planned=$(($(number total) / 1024))
    # shellcheck disable=SC2086
    train $options
    is 0 "the training"
    check "has a peak of $(peak) MiB, at most the $((planned / 1024)) planned and within 5% of it" \
        within "$(awk -v k=$planned 'BEGIN { print k / 1024 }')" "$(peak)"
done

# ---- limits ----
train --plan
kept=$(number total_kept) least=$(number total_recomputed)
before=0
for share in 90 50 10; do
    limit=$((least + (kept - least) * share / 100 + (4 << 20)))
    train --mem-limit $limit
    is 0 "a training within $((limit >> 20)) MiB"
    again=$(number blocks_recomputed)
    check "stays below: $(peak)" awk -v peak="$(peak)" -v limit=$limit 'BEGIN { exit !(peak < limit / 1048576) }'
    check "runs $again blocks again, more than $before" test "$again" -gt $before
    check "and as many as that takes, not all" test "$again" -lt 30
    before=$again
done
limit=$((least - (8 << 20)))
train --mem-limit $limit
is 1 "a limit that is too low is refused"
has err 'it would fit with --[a-z-]+ [0-9]+' "with what would fit"
for option in --max-seq-length --batch-size --num-layers --rank; do
    value=$(sed -n "s/.*$option \([0-9]*\).*/\1/p" "$tmp/err")
    [ -n "$value" ] || continue
    cp "$tmp/err" "$tmp/advice"
    train --mem-limit $limit $option "$value" --plan
    is 0 "$option $value fits, as it said"
    cp "$tmp/advice" "$tmp/err"
done
train --mem-limit 400
has err '^hone train: --mem-limit 400 \(bytes\): the training needs' "a forgotten unit shows"
train --mem-limit 20M
is 1 "a limit below the model itself is refused"
has err 'give --mem-limit [0-9]+M$' "with the least that would do"
train --plan --mem-limit "$(sed -n 's/.*give --mem-limit \([0-9]*M\)$/\1/p' "$tmp/err")"
is 0 "which does"
