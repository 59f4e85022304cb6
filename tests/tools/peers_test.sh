#!/usr/bin/env bash
# peers/: their options; that order of rows and first adapters are hone's; and, where HONE_PEERS or HONE_MLX names the
# virtual environment (peers/README.md), that their losses are.
. "$(dirname "$0")/../cli/lib.sh"
tiny=$root/tests/golden/archs/llama
export PYTHONDONTWRITEBYTECODE=1
bare() { # peer, options: without any packages
    local peer=$1
    shift
    run python3 -ES "$root/peers/$peer.py" "$@"
}

# ---- options ----
for row in c bb aaa dddd; do echo '{"text": "'$row'"}'; done >"$tmp/rows.jsonl"
for peer in torch_lora mlx_lora; do
    bare $peer --help
    is 0 "$peer --help"
    has out '^ *--packing \{concat\}' "$peer: the help names the options"
    bare $peer --data "$tmp/rows.jsonl"
    is 2 "$peer without a model is refused"
    has err 'required: --model$' "$peer: and says so"
    bare $peer --model "$tiny" --data "$tmp/rows.jsonl" --packing isolate
    is 2 "$peer knows no other packing"
    bare $peer --model "$tiny" --data "$tmp/rows.jsonl" --num-layers 0
    is 2 "$peer refuses no layers"
    has err '--num-layers 0: expected 1 or more, or -1 for all$' "$peer: and says what would do"
    bare $peer --model "$tiny" --data "$tmp/rows.jsonl" --iters 0
    is 2 "$peer refuses no steps"
    bare $peer --model "$tmp/none.gguf" --data "$tmp/rows.jsonl"
    is 1 "$peer: a model that is not there"
    has err 'none\.gguf: no such file or folder$' "$peer: is named"
    bare $peer --model "$tiny" --data "$tmp"
    is 1 "$peer: a folder without data"
    has err '/train\.jsonl: no such file or folder$' "$peer: is told what it lacks"
    bare $peer --model "$tiny" --data "$tmp/rows.jsonl" --packing concat --batch-size 1 --max-seq-length 64 --iters 2 \
        --num-layers -1 --rank 8 --learning-rate 1e-4 --seed 3 --json --lockstep --no-save --weights bf16 --save-every 0
    is 1 "$peer takes the options of a training, but not without its packages"
    has err '(torch|mlx) is not installed: see peers/README\.md$' "$peer: and names the first that is missing"
    has err 'no effect here: --save-every 0$' "$peer: what it does not know is told"
    lacks out . "$peer: nothing but events on standard output"
done

# ---- hone's order of rows ----
# No two rows have as many tokens: what a step learns tells which one it was.
for row in 'a b c' 'a b' 'a b c d e f g h' 'a b c d' 'a b c d e f'; do
    printf '{"text": "%s"}\n\n' "$row"
done >"$tmp/lengths.jsonl"
for seed in 0 5 18446744073709551615; do
    run "$hone" train --model "$tiny" --data "$tmp/lengths.jsonl" --batch-size 1 --iters 15 --seed $seed --json \
        --no-save
    cp "$tmp/out" "$tmp/lengths"
    check "the order of three epochs is hone's, seed $seed" python3 - "$root/peers" "$tmp" $seed <<'PY'
import itertools, json, sys
peers, tmp, seed = sys.argv[1:]
sys.path.insert(0, peers)
import common
events = [json.loads(line) for line in open(tmp + "/lengths")]
trained = [0] + [e["trained_tokens"] for e in events if e["event"] == "step"]
learnt = [b - a for a, b in zip(trained, trained[1:])]
assert len(learnt) == 15 and len(set(learnt)) == 5 and learnt[:5] != learnt[5:10], learnt
rows = itertools.islice(common.shuffled_rows(tmp + "/lengths.jsonl", int(seed)), 15)
lengths = [len(row["text"]) for row in rows]
rank = lambda values: [sorted(set(values)).index(value) for value in values]
assert rank(lengths) == rank(learnt), (lengths, learnt)
PY
done

# ---- hone's first adapters ----
for layers in -1 1; do
    run "$hone" train --model "$tiny" --data "$tmp/rows.jsonl" --iters 1 --learning-rate 0 --seed 7 --rank 3 \
        --num-layers $layers --adapter-path "$tmp/adapter$layers"
    is 0 "a training that changes nothing, --num-layers $layers"
    check "the first adapters are hone's, --num-layers $layers" python3 - "$root/peers" "$tmp/adapter$layers" \
        "$tiny" $layers <<'PY'
import argparse, array, json, struct, sys
peers, folder, model, layers = sys.argv[1:]
sys.path.insert(0, peers)
import common
file = open(folder + "/adapters.safetensors", "rb").read()
end = 8 + struct.unpack("<Q", file[:8])[0]
header = json.loads(file[8:end])
def tensor(name):
    begin, stop = header[name]["data_offsets"]
    return header[name]["shape"], list(array.array("f", file[end + begin:end + stop]))
options = argparse.Namespace(seed=7, rank=3, num_layers=int(layers))
names = common.adapted_layers(options, json.load(open(model + "/config.json"))["num_hidden_layers"])
found = [name for name in header if name.endswith("lora_a")]
assert sorted(found) == sorted(f"model.layers.{name}.lora_a" for name in names), found
stored = [tensor(f"model.layers.{name}.lora_a") for name in names]
for name, (shape, values), a in zip(names, stored, common.first_adapters(options, [s[0] for s, _ in stored])):
    assert shape == [len(a[0]), 3], shape
    transposed = array.array("f", [a[row][column] for column in range(len(a[0])) for row in range(3)])
    assert list(transposed) == values, name
    assert not any(tensor(f"model.layers.{name}.lora_b")[1])
PY
done

# ---- hone's losses ----
agree() { # peer, its virtual environment
    run "$2/bin/python" "$root/peers/$1.py" "${options[@]}"
    is 0 "$1: two steps"
    cp "$tmp/out" "$tmp/peer"
    check "$1: the losses are hone's" python3 - "$tmp/hone" "$tmp/peer" <<'PY'
import json, sys
hone, peer = ([json.loads(line) for line in open(path)] for path in sys.argv[1:])
losses = lambda events: [e["loss"] for e in events if e["event"] == "step"]
print("hone", losses(hone), "peer", losses(peer))
assert [e["event"] for e in peer] == ["start", "step", "step", "done"]
assert peer[0]["trainable"] == hone[0]["trainable"], (peer[0], hone[0])
assert all(e["peak_rss_mib"] > 100 for e in peer)
first, second = (abs(a - b) for a, b in zip(losses(hone), losses(peer)))
assert first < 1e-4 and second < 1e-3, (first, second)
PY
}
losses_of="losses as hone's"
need_model "$losses_of"
cat >"$tmp/rows.jsonl" <<'END'
{"messages": [{"role": "user", "content": "What is 12,345 + 678?"}, {"role": "assistant", "content": "13,023."}]}
{"text": "In 1997 Zoë’s   café sold 3.5 kg of “coffee”\n\tfor €42 – 合計."}
{"prompt": "Define the noun \"kernel\".", "completion": "the inner and usually edible part of a seed"}
END
options=(--model "$model" --data "$tmp/rows.jsonl" --packing concat --batch-size 1 --max-seq-length 64 --iters 2
    --num-layers -1 --rank 8 --learning-rate 1e-4 --seed 1 --json --no-save)
if [ -n "${HONE_PEERS:-}${HONE_MLX:-}" ]; then
    run "$hone" train "${options[@]}" --compute f32
    is 0 "hone's two steps"
    cp "$tmp/out" "$tmp/hone"
fi
for row in torch_lora:HONE_PEERS mlx_lora:HONE_MLX; do
    venv=${row#*:}
    if [ -n "${!venv:-}" ]; then
        agree "${row%:*}" "${!venv}"
    else
        skip "${row%:*}: $losses_of" "$venv names no virtual environment"
    fi
done
