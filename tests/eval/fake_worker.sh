#!/bin/sh
# Speaks like `hone train --json --lockstep` and misbehaves as --model says: for tests/eval/macro_test.c.
# With --ops naive it behaves well unless the model is "naive-dies", and its losses are 0.01 higher.
model= set= iters=0 weights=none
while [ $# -gt 0 ]; do
    case $1 in
    --model) model=$2 ;;
    --ops) set=$2 ;;
    --iters) iters=$2 ;;
    --weights) weights=$2 ;;
    esac
    shift
done
if [ "$set" = naive ]; then
    [ "$model" = naive-dies ] && model=dies || model=well
elif [ "$model" = naive-dies ]; then
    model=well
fi
bump=0
[ "$set" = naive ] && bump=1

case $model in
no-start) echo "hone: the model is broken" >&2; exit 1 ;;
silent-start) sleep 60 ;;
bf16) [ "$weights" = bf16 ] || { echo "expected --weights bf16" >&2; exit 2; } ;;
esac
echo '{"event":"start","samples":77,"iters":'"$iters"'}'
i=0
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
    echo '{"event":"step","iter":'$i',"loss":'$((9 - i))'.'$bump',"seconds":0.000001,"peak_rss_mib":5000}'
done
[ "$model" = no-done ] && exit 0
echo '{"event":"done","final_loss":1}'
[ "$model" = bad-end ] && { echo "the disk is full" >&2; exit 1; }
exit 0
