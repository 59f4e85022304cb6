#!/bin/sh
# Speaks like `hone train --json --lockstep` and misbehaves as --model says: for tests/eval/macro_test.c.
# With --ops naive it behaves well unless the model is "naive-dies", and its losses are 0.1 higher.
# With --sabotage its losses are 1 higher, unless the model is "deaf".
model= set= iters=0 weights=none sabotage= seed=0
while [ $# -gt 0 ]; do
    case $1 in
    --model) model=$2 ;;
    --ops) set=$2 ;;
    --iters) iters=$2 ;;
    --weights) weights=$2 ;;
    --sabotage) sabotage=$2 ;;
    --seed) seed=$2 ;;
    esac
    shift
done
if [ "$set" = naive ]; then
    [ "$model" = naive-dies ] && model=dies || model=well
elif [ "$model" = naive-dies ]; then
    model=well
fi
bump=0 calls='[3,3]'
[ "$set" = naive ] && bump=1
[ "$model" = uncalled ] && calls='[3,0]'

case $model in
no-start) echo "hone: the model is broken" >&2; exit 1 ;;
silent-start) sleep 60 ;;
bf16) [ "$weights" = bf16 ] || { echo "expected --weights bf16" >&2; exit 2; } ;;
esac
echo '{"event":"start","samples":77,"iters":'"$iters"',"plan":{"weights":1000,"scratch":-5}}'
i=0 first=$((seed % 7))
[ -n "$sabotage" ] && [ "$model" != deaf ] && first=$((first + 1))
while [ $i -lt "$iters" ] && read -r _; do
    i=$((i + 1))
    if [ $i = 2 ]; then
        case $model in
        dies) echo "first words" >&2; echo "last words" >&2; exit 3 ;;
        killed) kill -SEGV $$ ;;
        garbage) echo 'Segmentation fault?'; continue ;;
        array) echo '[1, 2]'; continue ;;
        hangs) sleep 60 ;;
        closes) exec >&-; sleep 60 ;;
        nan) echo '{"event":"step","iter":2,"loss":NaN}'; continue ;;
        null) echo '{"event":"step","iter":2,"loss":null}'; continue ;;
        skips) i=3 ;;
        endless) while :; do printf 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx'; done ;;
        chatters) while :; do echo '{"event":"note"}'; done ;;
        done-early) echo '{"event":"done"}'; continue ;;
        sleeps) sleep 0.3 ;;
        esac
    fi
    echo '{"event":"note","text":"passed over"}'
    echo '{"event":"step","iter":'$i',"loss":'$((2000 - i + first))'.'$bump',"seconds":0.000001,"peak_rss_mib":5000}'
done
[ "$model" = no-done ] && exit 0
echo '{"event":"done","final_loss":1,"kernel_calls":{"rms_norm":'$calls',"rope_embeddings":[0,0],
    "swiglu_activation":[3,3],"cross_entropy_loss":[3,3],"lora_linear":[3,3],"attention_with_rope":[3,3]}}' | tr -d '\n'
echo
[ "$model" = bad-end ] && { echo "the disk is full" >&2; exit 1; }
exit 0
