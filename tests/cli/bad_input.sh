#!/usr/bin/env bash
# What the verbs refuse: the exit status, a sentence, and nothing left behind.
. "$(dirname "$0")/lib.sh"
tiny=$root/tests/golden/archs/llama
export HONE_HOME=$tmp/home HF_HOME=$tmp/hf # no model is known here
mkdir "$tmp/d"
echo '{"text": "a few words to learn from"}' >"$tmp/d/train.jsonl"

refused() { # status, sentence (RE), arguments
    local want=$1 sentence=$2
    shift 2
    run "$hone" "$@"
    if [ "$status" -eq "$want" ] && grep -qE -- "$sentence" "$tmp/err" && [ "$(wc -l <"$tmp/err")" -le 2 ]; then
        ok "refused: $(printf '%s ' "$@" | tr '\n' ' ' | sed "s#$tmp#TMP#g; s#$tiny#TINY#g" | cut -c 1-90)"
    else
        not_ok "expected $want and: $sentence"
        show
    fi
}

# ---- the command line ----
refused 2 'no verb "trian"; did you mean "train"' trian
refused 2 'no verb "zzzzzz"' zzzzzz
refused 2 'no option --data before the verb' --data x
for verb in train generate tokenize info data models eval; do
    refused 2 'no option --no-such-option' $verb --no-such-option
    run "$hone" $verb --help
    is 0 "hone $verb --help"
    has out "^usage: hone $verb" "its usage line"
done
refused 2 'did you mean --iters' train --data x --itres 3
refused 2 '--iters needs a value' train --data x --iters
refused 2 '--iters abc: expected a whole number' train --data x --iters abc
refused 2 '--iters abc: expected a whole number' train --data x --iters=abc
refused 2 '--iters 1e3: expected a whole number' train --data x --iters 1e3
refused 2 '--iters 99999999999: the number is too large' train --data x --iters 99999999999
refused 2 '--iters: the value is empty' train --data x --iters ''
refused 2 '--learning-rate: the value is empty' train --data x --learning-rate=
refused 2 '-m: the value is empty' generate --prompt x -m ''
refused 2 '--iters 010: expected a whole number without a 0 in front' train --data x --iters 010
refused 2 '--iters 0x10: expected a whole number without' train --data x --iters=0x10
refused 2 '--resume-adapter-file: with --test alone nothing is trained; --adapter-path' train --data x --test \
    --resume-adapter-file y
refused 2 '--resume-adapter-file /nowhere: No such file' train --data x --plan --resume-adapter-file /nowhere
refused 2 '--mem-limit: with --test alone nothing is trained' train --data x --test --mem-limit 1G
refused 2 '--learning-rate fast: expected a number' train --data x --learning-rate fast
refused 2 '"more" is one argument too many' train --data x more
refused 2 '--data is missing' train
refused 2 '--data is missing' data
refused 2 '--prompt is missing' generate
refused 2 '--iters 0: expected 1' train --data x --iters 0
refused 2 'there is no "dora"' train --data x --fine-tune-type dora
refused 2 'did you mean "concat"' train --data x --packing concta
refused 2 'did you mean "naive"' train --data x --ops naiv
refused 2 '--compute f16' train --data x --compute f16
refused 2 '--seed -1' train --data x --seed -1
refused 2 '--temp -1' generate --prompt x --temp -1
refused 2 '--top-p 2' generate --prompt x --top-p 2
refused 2 '--max-tokens 0' generate --prompt x --max-tokens 0
refused 2 '--system needs the chat template' generate --prompt x --raw --system y
for option in '--batch-size 0' '--max-seq-length 1' '--grad-accumulation-steps 0' '--rank 0' '--num-layers 0' \
    '--learning-rate -1' '--save-every -1' '--val-batches -2' '--steps-per-report -1' '--threads -1' \
    '--weight-decay 2' '--scale nan' '--keys nothing' '--keys ,'; do
    refused 2 "${option%% *}" train --model "$tiny" --data "$tmp/d" --no-save $option
done
refused 2 '"1x": expected token ids' tokenize --model "$tiny" --decode '1 1x'
refused 2 '99999' tokenize --model "$tiny" --decode '99999'

# ---- models ----
refused 1 'no model: give one with --model' generate --prompt x
refused 1 "$tmp/none: no such file or folder" generate --prompt x --model "$tmp/none"
refused 1 'is not on this machine' generate --prompt x --model mlx-community/Qwen3-0.6B-bf16
: >"$tmp/empty.gguf"
refused 1 'empty\.gguf' info --model "$tmp/empty.gguf"
printf 'GGUF\003\000\000\000' >"$tmp/short.gguf"
refused 1 'short\.gguf' info --model "$tmp/short.gguf"
head -c 100000 /dev/urandom >"$tmp/noise.gguf"
refused 1 'noise\.gguf' info --model "$tmp/noise.gguf"
mkdir "$tmp/folder"
refused 1 "$tmp/folder" info --model "$tmp/folder"
refused 1 'architecture "qwen2" is not supported' info --model "$root/tests/golden/archs/qwen2"
for file in config.json model.safetensors tokenizer.json; do
    rm -rf "$tmp/folder"
    mkdir "$tmp/folder"
    for other in config.json model.safetensors tokenizer.json; do
        [ $other = $file ] || ln -s "$tiny/$other" "$tmp/folder/$other"
    done
    refused 1 "$file" info --model "$tmp/folder"
    head -c 1000 "$tiny/$file" | head -c 700 >"$tmp/folder/$file"
    refused 1 "$file" info --model "$tmp/folder"
done

# ---- data ----
row=0
refused_row() { # line, sentence
    row=$((row + 1))
    printf '{"text": "good"}\n%s\n' "$1" >"$tmp/row.jsonl"
    refused 1 "row\.jsonl: line 2(, column [0-9]+)?: .*$2" train --model "$tiny" --data "$tmp/row.jsonl" \
        --adapter-path "$tmp/new$row"
    check "and no folder was made" test ! -e "$tmp/new$row"
}
refused_row '{"text": "a"' 'JSON'
refused_row '{"text": "a\u0000"}' 'a NUL character in a string is not supported'
refused_row '{"text": 3}' '"text" is to be a string'
refused_row '{"texts": "a"}' 'neither'
refused_row '[]' 'expected a JSON object'
refused_row '{"messages": []}' '"messages" is to be a list'
refused_row '{"prompt": "a", "completion": {}}' '"completion" is to be a string'
refused_row "$(printf '{"text": "\377"}')" 'JSON'
refused_row "$(printf '%.0s[' $(seq 100000))" 'JSON'
echo '{"messages": [{"role": "user", "content": "a"}]}' >"$tmp/chat.jsonl"
refused 1 'chat\.jsonl: line 1: .*no chat template' train --model "$tiny" --no-save --data "$tmp/chat.jsonl"
: >"$tmp/empty.jsonl"
refused 1 'empty\.jsonl: no rows' train --model "$tiny" --no-save --data "$tmp/empty.jsonl"
refused 1 'train\.jsonl' train --model "$tiny" --no-save --data "$tmp/folder"
refused 1 'nowhere' train --model "$tiny" --no-save --data "$tmp/nowhere"
refused 1 'test\.jsonl' train --model "$tiny" --no-save --data "$tmp/d" --train --test
refused 2 'mask' train --model "$tiny" --no-save --data "$tmp/d" --mask-prompt
for packing in isolate concat; do
    refused 2 '--max-seq-length 2048: .* 256 positions' train --model "$tiny" --no-save --data "$tmp/d" \
        --packing $packing
done
refused 1 '--test needs a folder with test.jsonl' train --model "$tiny" --no-save --data "$tmp/d/train.jsonl" --test
for packing in none isolate; do
    refused 1 'is free: lower --batch-size or --max-seq-length, or give --grad-checkpoint' train --model "$tiny" \
        --no-save --data "$tmp/d" --batch-size 4194304 --max-seq-length 16 --rank 4096 --packing $packing
done

# ---- places to write to ----
refused 1 'train\.jsonl' train --model "$tiny" --data "$tmp/d" --adapter-path "$tmp/d/train.jsonl"
refused 1 '/etc/passwd is not a directory' train --model "$tiny" --data "$tmp/d" --adapter-path /etc/passwd/x
refused 1 'train\.jsonl is not a directory; expected a folder' train --model "$tiny" --data "$tmp/d" \
    --adapter-path "$tmp/d/train.jsonl"
refused 2 '--adapter-path: expected the name of a folder' train --model "$tiny" --data "$tmp/d" --adapter-path ''
refused 1 '/proc/none' train --model "$tiny" --data "$tmp/d" --adapter-path /proc/none
if [ -e /dev/full ]; then
    "$hone" train --model "$tiny" --data "$tmp/d" --iters 3 --no-save --json >/dev/full 2>"$tmp/err" </dev/null
    status=$? last="hone train >/dev/full"
    is 1 "a full disk behind standard output"
    "$hone" info >/dev/full 2>"$tmp/err"
    status=$? last="hone info >/dev/full"
    is 1 "the same for hone info"
    has err 'standard output' "it says so"
fi

# ---- adapters ----
refused 1 'adapter_config\.json' generate --model "$tiny" --raw --prompt x --adapter-path "$tmp/folder"
mkdir "$tmp/adapter"
echo '{"peft_type": "LORA"}' >"$tmp/adapter/adapter_config.json"
refused 1 'PEFT' generate --model "$tiny" --raw --prompt x --adapter-path "$tmp/adapter"
refused 1 'none\.safetensors' train --model "$tiny" --data "$tmp/d" --no-save \
    --resume-adapter-file "$tmp/none.safetensors"
refused 1 'noise\.gguf' train --model "$tiny" --data "$tmp/d" --no-save --resume-adapter-file "$tmp/noise.gguf"
refused 2 'cannot start from an adapter' train --model "$tiny" --data "$tmp/d" --no-save --fine-tune-type full \
    --resume-adapter-file "$tmp/none.safetensors"
