#!/usr/bin/env bash
# The rules of the source that a program can check. `make tidy` runs this folder alone.
. "$(dirname "$0")/../cli/lib.sh"
cd "$root" || exit 1

# All of our own text, and its C part. Sources that other projects wrote would not belong here; there are none.
mapfile -t text < <(find CMakeLists.txt Makefile cmake include src cli tests tools bench peers examples docs .ci \
    -type f -not -path 'tests/golden/*' \( -name '*.[ch]' -o -name '*.sh' -o -name '*.py' -o -name '*.cmake' \
    -o -name '*.txt' -o -name '*.md' -o -name Makefile -o -path 'tools/*' -o -path '.ci/*' \) 2>/dev/null | sort)
mapfile -t sources < <(printf '%s\n' "${text[@]}" | grep '\.[ch]$')

# verdict NAME: ok when standard input is empty, else each of its lines is a complaint.
verdict() {
    local complaints
    mapfile -t complaints
    if [ ${#complaints[@]} -eq 0 ]; then ok "$1"; else not_ok "$1" "${complaints[@]}"; fi
}

clang-format --dry-run -Werror "${sources[@]}" 2>&1 | sed -n 's/:.*error:.*//p' | uniq -c |
    awk '{ print $2 ": " $1 " places" }' | verdict "sources are formatted (make format)"

awk 'length > 120 { print FILENAME ":" FNR ": " length " columns, at most 120" }' \
    $(printf '%s\n' "${text[@]}" | grep -v '\.md$') | verdict "no line is longer than 120 columns"

awk 'FNR == 1 && NR > 1 { check() } { file = FILENAME; lines = FNR } END { check() }
    function check() { if (lines > 800) print file ": " lines " lines, at most 800" }' "${sources[@]}" |
    verdict "no file is longer than 800 lines"

# A function opens with "... {" at the left margin and closes with "}" there. Unrolled kernels are exempt.
awk 'FNR == 1 { open = 0 }
    /^[A-Za-z_].*\{$/ && !/= *\{$/ && !/^(typedef|struct|enum|union|extern)/ || /^ .*\) \{$/ && !open && at_margin {
        open = FNR }
    { at_margin = /^[A-Za-z_].*[,(]$/ || (at_margin && /^ .*,$/) }
    /^\}/ { if (open && FNR - open + 1 > 70) print FILENAME ":" open ": function of " FNR - open + 1 \
                " lines, at most 70"; open = 0 }' \
    $(printf '%s\n' "${sources[@]}" | grep -Ev '^src/kernels/(ref|vec|x86|arm|cuda)/') |
    verdict "no function is longer than 70 lines"

# The words are put together here so that this file passes its own check.
grep -nwE "TO""DO|FIX""ME|XX""X|HA""CK" "${text[@]}" | verdict "no unfinished business"

grep -nE '[[:blank:]]+$' "${text[@]}" | verdict "no line ends in a blank"

# Layers from the lowest up: a file may include its own layer and those before it.
layers="base kernels ops cases format text model train eval evolve"
awk -v layers="$layers" '
    BEGIN { n = split(layers, names, " "); for (i = 1; i <= n; i++) rank[names[i]] = i }
    /^[ \t]*#[ \t]*include[ \t]*"/ {
        split($0, quoted, "\""); split(quoted[2], part, "/"); split(FILENAME, path, "/")
        if (path[1] == "cli") { if (part[2] != "") print FILENAME ":" FNR ": a program includes only <hone.h>" }
        else if (!(part[1] in rank)) print FILENAME ":" FNR ": write \"layer/file.h\""
        else if (rank[part[1]] > rank[path[2]])
            print FILENAME ":" FNR ": " path[2] " may not include " part[1] ", which is above it"
    }' $(printf '%s\n' "${sources[@]}" | grep -E '^(src|cli)/') | verdict "includes point down"

grep -nE '#[[:blank:]]*include[[:blank:]]*[<"](curl/|sqlite3)' "${sources[@]}" | grep -v '^src/evolve/' |
    verdict "only evolve includes libcurl and SQLite"

grep -nwE 'printf|puts|fprintf\((stderr|stdout)|exit|abort|perror' $(printf '%s\n' "${sources[@]}" | grep '^src/') |
    grep -vE '^[^:]*:[0-9]+:[[:blank:]]*(/?\*|//)' | grep -vE '(format|__format__)\(' |
    grep -E '\b(printf|puts|exit|abort|perror)\(|fprintf\((stderr|stdout)' |
    verdict "the library neither prints nor exits"
