#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later OR BSD-3-Clause
# build.sh
#
# Builds every target into $OUT with $CC, $CFLAGS and $LIB_FUZZING_ENGINE, as OSS-Fuzz wants it: with
# its corpus, dictionary and options. By itself: with clang, libFuzzer, ASan and UBSan into
# build-fuzz/out. With CC=afl-clang-fast it builds for AFL++.

set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
work=$(realpath -m "${WORK:-$here/../build-fuzz}")
out=$(realpath -m "${OUT:-$work/out}")
export CC=${CC:-clang} CFLAGS=${CFLAGS--O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined}

mkdir -p "$out" "$work"
rm -rf "$work/build"
meson setup "$work/build" "$here/.." -Dfuzz=enabled "-Dfuzz_engine=${LIB_FUZZING_ENGINE:--fsanitize=fuzzer}" \
	-Dtests=disabled -Dtools=disabled -Ddocs=disabled -Db_lundef=false -Dwerror=false
ninja -C "$work/build"

# What meson.build says of each target: its name and the folder of its corpus
sed -n "s/^  '\([a-z_]*\)': {.*'corpus': '\([a-z_]*\)'.*/\1 \2/p" "$here/meson.build" | while read -r target folder; do
	# one whose libraries are not there, or know nothing of the sanitizer, is not built
	[[ -f $work/build/fuzz/fuzz_$target ]] || continue
	dict=$here/$target.dict
	[[ -f $dict ]] || dict=$here/vbb.dict
	cp "$work/build/fuzz/fuzz_$target" "$out/fuzz_$target"
	cp "$dict" "$out/fuzz_$target.dict"
	[[ ! -f $here/$target.options ]] || cp "$here/$target.options" "$out/fuzz_$target.options"
	rm -f "$out/fuzz_${target}_seed_corpus.zip"
	(cd "$here/corpus/$folder" && python3 -m zipfile -c "$out/fuzz_${target}_seed_corpus.zip" ./*)
done
