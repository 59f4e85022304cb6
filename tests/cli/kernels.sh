#!/usr/bin/env bash
# hone train --kernels: which shared objects are loaded, and that what was looked at is what runs.
. "$(dirname "$0")/lib.sh"

model=tests/golden/archs/llama
mkdir -p "$tmp/text" "$tmp/home/kernels" "$tmp/places"
for i in 1 2 3 4 5 6 7 8; do
    echo '{"text":"A procedure that finds out whether something holds, case number '$i'."}'
done >"$tmp/text/train.jsonl"
export HONE_HOME=$tmp/home

build() { # SOURCE OBJECT
    cc -O1 -shared -fPIC -Iinclude "$1" -lm -o "$2"
}
accept() { # OBJECT CPU: as hone eval would
    local sha
    sha=$(sha256sum <"$1" | cut -d' ' -f1)
    printf '{"verdict": "accepted", "cpu": "%s", "object_sha256": "%s"}\n' "$2" "$sha" >"$HONE_HOME/kernels/$sha.json"
}
cat >"$tmp/evil.c" <<'END'
#include <hone_kernels.h>
#include <stdlib.h>
__attribute__((constructor)) static void begin(void) { _Exit(77); }
const hone_kernel_set *hone_kernels_export(void) { return 0; }
END
check "kernels are built" build tests/eval/attacks/learns_nothing.c "$tmp/good.so"
check "others, too" build "$tmp/evil.c" "$tmp/evil.so"
cpu=$("$hone" info | sed -n 's/^processor  *\(.*\), [0-9]* threads\{0,1\}$/\1/p')
train=("$hone" train --model "$model" --data "$tmp/text" --iters 1 --no-save --val-batches 0 --batch-size 1
    --max-seq-length 32)

run "${train[@]}" --kernels "$tmp/good.so"
is 1 "kernels that nobody has accepted"
has err "good.so: these kernels were not accepted on this machine" "are refused by name"
accept "$tmp/good.so" "another CPU"
run "${train[@]}" --kernels "$tmp/good.so"
is 1 "kernels that were accepted on another CPU"
accept "$tmp/good.so" "$cpu"
run "${train[@]}" --kernels "$tmp/good.so"
is 0 "kernels that were accepted here"
run "${train[@]}" --kernels "$tmp/evil.so" --unsafe
is 77 "the others are noticed when they are loaded"
printf 'no object' >"$tmp/text.so"
accept "$tmp/text.so" "$cpu"
run "${train[@]}" --kernels "$tmp/text.so"
is 1 "what is no shared object"
has err "$tmp/text.so: no shared object with kernels" "is named as it was given"
mkfifo "$tmp/fifo"
run timeout 20 "${train[@]}" --kernels "$tmp/fifo"
is 1 "a FIFO is not waited for"
has err "$tmp/fifo: is not a regular file" "it is refused"
run timeout 20 "${train[@]}" --kernels "$tmp/fifo" --unsafe
is 1 "nor with --unsafe"
run timeout 20 "$hone" eval "$tmp/fifo" --micro
is 1 "nor by an evaluation"
run "${train[@]}" --kernels "$tmp/missing.so"
is 1 "kernels that are not there"
has err "$tmp/missing.so: cannot open: No such file" "are named"

# As soon as the accepted file was read and closed, a link to it leads elsewhere.
swapped() {
    python3 - "$tmp" "${train[@]}" --kernels "$tmp/places/k.so" <<'END'
import ctypes, os, subprocess, sys
tmp, command = sys.argv[1], sys.argv[2:]
def link(target):
    os.symlink(target, tmp + "/places/new")
    os.rename(tmp + "/places/new", tmp + "/places/k.so")
link(tmp + "/good.so")
libc = ctypes.CDLL(None)
watch = libc.inotify_init()
assert libc.inotify_add_watch(watch, (tmp + "/good.so").encode(), 0x10) >= 0  # IN_CLOSE_NOWRITE
process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
os.read(watch, 4096)
link(tmp + "/evil.so")
sys.exit(process.wait())
END
}
for i in 1 2 3; do check "a link that is changed meanwhile changes nothing ($i)" swapped; done
