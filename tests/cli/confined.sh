#!/usr/bin/env bash
# hone confined: a verb under the list of allowed system calls, as hone starts itself for kernels that are not trusted.
. "$(dirname "$0")/lib.sh"

run "$hone" confined
is 2 "it wants a verb"
run "$hone" confined nonsense
is 2 "of those that there are"
run "$hone" --help
lacks out confined "help does not tell of it"

run "$hone" info
grep -v '^memory free' "$tmp/out" >"$tmp/plain"
run "$hone" confined info
is 0 "a verb runs confined"
grep -v '^memory free' "$tmp/out" >"$tmp/confined"
check "and says the same" cmp "$tmp/plain" "$tmp/confined"
run "$hone" confined --threads 2
is 2 "options are the verb's"

need_model "confined training"
mkdir "$tmp/data"
for word in river mountain cloud stone; do
    echo "{\"text\": \"A $word is a thing of nature. We walked along the $word until the evening came.\"}"
done >"$tmp/data/train.jsonl"
options=(train --model "$model" --data "$tmp/data" --threads 2 --iters 2 --batch-size 1 --num-layers 2 --val-batches 0
    --json)
run "$hone" "${options[@]}" --adapter-path "$tmp/a"
is 0 "training as always"
run "$hone" confined "${options[@]}" --adapter-path "$tmp/b"
is 0 "training confined, adapter saved"
check "its adapter is the same" cmp "$tmp/a/adapters.safetensors" "$tmp/b/adapters.safetensors"

# A worker is a program of its own: the first system call that is not allowed ends the process with SIGSYS.
run "$hone" confined eval --macro --models "$model" --data "$tmp/data" --steps 1
is 159 "no program is started"
