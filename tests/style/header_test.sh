#!/usr/bin/env bash
# Every header compiles alone: the public ones as C and as C++, those of the layers as C. Lists that are included
# for their rows (*_list.h) and the insides of the kernels are not headers in this sense.
. "$(dirname "$0")/../cli/lib.sh"
cd "$root" || exit 1
flags=(-fsyntax-only -Wall -Wextra -Wpedantic -Werror -Iinclude -Isrc)
packages=$(pkg-config --cflags jansson)

for header in include/*.h; do
    check "$header alone as C" sh -c 'echo "#include \"$0\"" | cc -std=c11 -x c "$@" -' "$header" "${flags[@]}"
    check "$header alone as C++" sh -c 'echo "#include \"$0\"" | c++ -std=c++11 -x c++ "$@" -' "$header" "${flags[@]}"
done

# One compiler run for all, each header as a file of its own.
for header in src/*/*.h; do
    case $header in *_list.h) continue ;; esac
    name=$(echo "${header#src/}" | tr / _)
    echo "#include \"${header#src/}\"" >"$tmp/$name.c"
done
check "each layer's headers alone" cc -std=gnu17 "${flags[@]}" $packages "$tmp"/*.c
