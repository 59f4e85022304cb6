#!/usr/bin/env bash
# hone generate, tokenize and info: on the tiny golden llama, and on the real model where it is here.
. "$(dirname "$0")/lib.sh"
tiny=$root/tests/golden/archs/llama

run "$hone" generate --model "$tiny" --raw --prompt 'a thing' --max-tokens 8 --ignore-eos
is 0 "greedy text"
has out '^Prompt: [0-9]+ tokens, [0-9.]+ tokens-per-sec$' "closing line of the prompt, as mlx-lm prints it"
has out '^Generation: 8 tokens, [0-9.]+ tokens-per-sec$' "closing line of the generation"
has out '^Peak memory: [0-9.]+ GB$' "closing line of the memory"
same() { # file, name: the last output is the same
    cp "$tmp/out" "$tmp/now"
    check "$2" cmp "$1" "$tmp/now"
}
generate() { run "$hone" generate --model "$tiny" --raw --prompt 'a thing' --max-tokens 12 --quiet --compute f32 "$@"; }
generate
cp "$tmp/out" "$tmp/greedy"
generate --ops naive --threads 1
is 0 "naive operations, one thread"
same "$tmp/greedy" "the same text from both sets"
generate --temp 1 --top-p 0.9 --top-k 40 --min-p 0.01 --seed 3
cp "$tmp/out" "$tmp/drawn"
generate --temp 1 --top-p 0.9 --top-k 40 --min-p 0.01 --seed 3
same "$tmp/drawn" "the same seed draws the same text"
generate --temp 1 --top-p 0.9 --top-k 40 --min-p 0.01 --seed 4
cp "$tmp/out" "$tmp/other"
check "another seed draws another" test "$(cat "$tmp/drawn")" != "$(cat "$tmp/other")"
generate --temp 1 --top-k 1 --seed 9
same "$tmp/greedy" "the likeliest of one is the greedy text"
run "$hone" generate --model "$tiny" --raw --prompt -m --max-tokens 1 --quiet
is 0 "a prompt that looks like an option"
printf 'a thing' | "$hone" generate --model "$tiny" --raw --prompt - --max-tokens 12 --quiet --compute f32 \
    >"$tmp/out" 2>"$tmp/err"
same "$tmp/greedy" "a prompt from standard input"
# Rows that fill an embedding up to a round number are no tokens.
mkdir "$tmp/padded"
cp "$tiny"/* "$tmp/padded"
python3 - "$tmp/padded/tokenizer.json" <<'END'
import json, sys
t = json.load(open(sys.argv[1]))
t["model"]["vocab"] = {k: v for k, v in t["model"]["vocab"].items() if v < 300}
pairs = [(m if isinstance(m, list) else m.split(" ")) for m in t["model"]["merges"]]
t["model"]["merges"] = [p for p in pairs if all(w in t["model"]["vocab"] for w in (*p, "".join(p)))]
json.dump(t, open(sys.argv[1], "w"))
END
run "$hone" generate --model "$tmp/padded" --raw --prompt 'a thing' --max-tokens 60 --ignore-eos --temp 1 --quiet
is 0 "rows of the embedding that are no tokens are not drawn"
# A model whose words are what terminals act on.
mkdir "$tmp/escapes"
cp "$tiny"/* "$tmp/escapes"
python3 - "$tmp/escapes/tokenizer.json" <<'END'
import json, sys
t = json.load(open(sys.argv[1]))
vocab = t["model"]["vocab"]
t["model"]["vocab"] = {k if v < 300 else "\u001b[%dm\u009b" % v: v for k, v in vocab.items()}
pairs = [(m if isinstance(m, list) else m.split(" ")) for m in t["model"]["merges"]]
t["model"]["merges"] = [p for p in pairs if all(w in t["model"]["vocab"] for w in (*p, "".join(p)))]
json.dump(t, open(sys.argv[1], "w"))
END
escape=$(printf '\033\\[')
words() { "$hone" generate --model "$tmp/escapes" --raw --prompt 'a' --max-tokens 40 --ignore-eos --temp 2 --quiet; }
words >"$tmp/words"
check "a file gets the model's words as they are" grep -aq "$escape" "$tmp/words"
export hone tmp
export -f words
python3 -c 'import pty; pty.spawn(["bash", "-c", "words"])' >"$tmp/words" </dev/null
check "a terminal does not" sh -c '! grep -aq "$1" "$2"' - "$escape" "$tmp/words"
check "but what they hold beside that" grep -aq '?\[3[0-9]*m?' "$tmp/words"
run "$hone" generate --model "$tiny" --prompt 'hi'
is 1 "a chat without a chat template"
has err 'has no chat template' "it says that there is no template"
run "$hone" generate --model "$tiny" --raw --prompt 'hi' --max-tokens 100000
is 1 "more tokens than the context holds"
has err 'context of 256' "it names the context"

run "$hone" tokenize --model "$tiny" --ids --special 'a thing'
is 0 "tokenize"
has out '^1 [0-9 ]+$' "ids with the beginning token"
ids=$(cat "$tmp/out")
run "$hone" tokenize --model "$tiny" --decode "$ids"
has out '^<s> ?a thing$' "decoded again"
run "$hone" tokenize --model "$tiny" --decode "[1, 2,3]"
is 0 "ids between brackets and commas"
printf 'two\nlines\t' | "$hone" tokenize --model "$tiny" >"$tmp/out" 2>"$tmp/err"
lacks out '^ *[^ 0-9]' "one token a line, whatever they hold"

run "$hone" info
is 0 "info"
has out '^kernels +.*\(matrices: float32 ' "info names the kernels"
run env HONE_CPU=scalar "$hone" info
has out '^kernels +scalar' "HONE_CPU chooses lesser kernels"
run env HONE_CPU=fast "$hone" info
is 2 "a word in HONE_CPU that names none"
has err 'HONE_CPU' "it names the variable"
run "$hone" info --model "$tiny"
has out '^shape +3 layers, hidden 64' "info of a model"

need_model "the real model"
run "$hone" generate --model "$model" --prompt 'What is the capital of France? One word.' --max-tokens 20
is 0 "an answer of the real model"
has out 'Paris' "it is right"
run "$hone" generate --model "$model" --raw --prompt 'The capital of France is' --max-tokens 8 --quiet --compute f32
has out 'Paris' "its plain text is right, too"
peak() { # tokens: the most memory in use, MB
    run "$hone" generate --model "$model" --raw --prompt 'The capital' --ignore-eos --max-tokens "$1"
    awk '/^Peak memory/ { printf "%d", $3 * 1000 }' "$tmp/out"
}
few=$(peak 40)
many=$(peak 80)
check "where 4-bit weights are copied, their first copy goes ($few and $many MB)" test "$many" -lt $((few + 20))
run "$hone" tokenize --model "$model" 'Hello, world! 42'
has out '^ *19556  Hello$' "its tokens"
