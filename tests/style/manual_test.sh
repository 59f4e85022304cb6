#!/usr/bin/env bash
# Every verb has a manual page, which names exactly the options of its --help, and hone(1) points to each.
. "$(dirname "$0")/../cli/lib.sh"
cd "$root/docs/man" || exit 1

if command -v mandoc >/dev/null; then
    # Pages refer to each other, and none of them need be installed here.
    run mandoc -T lint ./*.1
    grep -v 'referenced manual not found' "$tmp/out" >"$tmp/lint"
    lacks "$tmp/lint" . "mandoc finds nothing to say about the pages"
else
    skip "mandoc finds nothing to say about the pages" "mandoc is not installed"
fi
if [ ! -x "$hone" ]; then
    skip "the pages name the options of --help" "$hone is not built"
    exit 0
fi

run "$hone" --help
is 0 "the verbs"
mapfile -t verbs < <(sed -n 's/^  \([a-z]*\)  .*/\1/p' "$tmp/out")
check "there are some" test "${#verbs[@]}" -ge 8
for verb in "${verbs[@]}"; do
    page=hone-$verb.1
    if [ ! -e "$page" ]; then
        not_ok "$verb has a page"
        continue
    fi
    has "$page" "^\.Nm hone-$verb\$" "$verb has a page of its name"
    has "$page" '^\.Sh EXAMPLES' "with examples"
    has hone.1 "^\.It Xr hone-$verb 1" "to which hone(1) points"
    "$hone" "$verb" --help | sed -n 's/^  \(-., \)\{0,1\}--\([a-z-]*\).*/\2/p' | grep -vx help | sort -u >"$tmp/options"
    grep '^\.It' "$page" | grep -oE '\bFl -[a-z-]+' | sed 's/^Fl -//' | sort -u >"$tmp/explained"
    run comm -23 "$tmp/options" "$tmp/explained"
    lacks out . "every option of $verb is explained in it"
    run comm -13 "$tmp/options" "$tmp/explained"
    lacks out . "and none that $verb does not have"
done
