#!/usr/bin/env bash
# Installs the build into a prefix of its own and uses it from there, as a stranger's project would.
. "$(dirname "$0")/../cli/lib.sh"
prefix=$tmp/prefix
stage=$tmp/stage

# A sanitized library wants a sanitized program around it.
sanitize=$(sed -n 's/^HONE_SANITIZE:STRING=//p' "$build/CMakeCache.txt")
flags=()
case $sanitize in
asan) flags=(-fsanitize=address,undefined) ;;
ubsan) flags=(-fsanitize=undefined) ;;
tsan) flags=(-fsanitize=thread) ;;
esac

check "installs" cmake --install "$build" --prefix "$prefix"
check "installs into a staging folder" env DESTDIR="$stage" cmake --install "$build" --prefix /opt/hone
libdir=$(dirname "$(find "$prefix" -name libhone.a)")
for file in bin/hone include/hone.h "${libdir#"$prefix"/}"/{libhone.a,libhone.so,libhone_lab.a,libhone_lab.so} \
    "${libdir#"$prefix"/}"/{pkgconfig/hone.pc,pkgconfig/hone_lab.pc,cmake/hone/honeConfig.cmake}; do
    check "$file is there" test -e "$prefix/$file" -a -e "$stage/opt/hone/$file"
done
run grep -rlE "$root|$build|$prefix" "$libdir/pkgconfig" "$libdir/cmake"
is 1 "no file of the packages names the folder it was built or installed in"
check "the installed program runs" "$prefix/bin/hone" --version
has out '^hone [0-9]+\.[0-9]+\.[0-9]+' "and says its version"

# What hone_kernels.h declares is for files of kernels, which export it themselves.
check "a file of kernels builds with the installed header" cc -std=c11 -shared -fPIC -I"$prefix/include" \
    -o "$tmp/kernels.so" "$root/examples/kernels.c" -lm

# The shared libraries export the functions of the public header, all of them and nothing else.
declared() {
    sed 's|/\*.*\*/||; /^ *\*/d; /^\/\*/d' "$root/include/hone.h" | grep -oE '\bhone_[a-z0-9_]+\(' | tr -d '('
}
exported() { nm -D --defined-only "$1" | awk '{ sub(/@.*/, "", $3); print $3 }' | grep -vE '^(_init|_fini|__.*|)$'; }
# What AddressSanitizer adds to a library is not ours.
exported "$libdir/libhone_lab.so" | sort -u >"$tmp/exported"
declared | sort -u >"$tmp/declared"
run comm -23 "$tmp/declared" "$tmp/exported"
lacks out . "every declared function is exported"
run comm -13 "$tmp/declared" "$tmp/exported"
lacks out . "nothing else is exported"

# The example, built in four ways.
export PKG_CONFIG_PATH=$libdir/pkgconfig LD_LIBRARY_PATH=$libdir
example=$root/examples/embed.c
check "builds with pkg-config" bash -c 'cc -std=c11 -Wall -Wextra -Werror "$0" -o "$1" "${@:2}" \
    $(pkg-config --cflags --libs hone)' "$example" "$tmp/shared" "${flags[@]}"
project() { # folder, component, target
    mkdir -p "$1"
    cat >"$1/CMakeLists.txt" <<END
cmake_minimum_required(VERSION 3.18)
project(stranger LANGUAGES C)
find_package(hone 0.1 REQUIRED $2)
add_executable(embed $example)
target_link_libraries(embed PRIVATE $3)
END
    cmake -S "$1" -B "$1/build" -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_C_FLAGS="${flags[*]}" && cmake --build "$1/build"
}
check "builds with find_package" project "$tmp/a" "" hone::hone
check "builds with find_package, static" project "$tmp/b" "COMPONENTS static" hone::hone_static
check "builds with pkg-config, static" bash -c 'cc "$0" -o "$1" "${@:2}" $(pkg-config --static --cflags --libs hone |
    sed "s/-lhone\b/-l:libhone.a/")' "$example" "$tmp/static" "${flags[@]}"
run ldd "$tmp/static"
lacks out 'libhone' "the static program needs no libhone.so"
run ldd "$tmp/a/build/embed"
has out "libhone\.so\.0 => $libdir" "the shared program uses the installed libhone.so"

run "$tmp/shared" /nonexistent.gguf /nonexistent 2
is 1 "a missing model is an error"
has err '/nonexistent\.gguf' "and is named"

need_model "the example on the real model"
mkdir "$tmp/data"
for word in river mountain cloud stone; do
    echo "{\"text\": \"A $word is a thing of nature. We walked along the $word until the evening came.\"}"
done >"$tmp/data/train.jsonl"
for program in shared static a/build/embed b/build/embed; do
    run "$tmp/$program" "$model" "$tmp/data" 2
    is 0 "$program fine-tunes the real model"
    has out '^step 2 of 2: loss [0-9]\.[0-9]+' "$program reports a loss"
    grep '^step' "$tmp/out" >"$tmp/losses"
    if [ -e "$tmp/first" ]; then check "$program has the same losses" cmp "$tmp/losses" "$tmp/first"; fi
    cp "$tmp/losses" "$tmp/first"
done
