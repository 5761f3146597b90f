#!/usr/bin/env bash
# Sets up a checkout: .venv with the packages pinned in requirements.txt, mmcv with its compiled
# operators, and mmseg_ext itself (editable). Silent when all of that is there already.
#
#   PYTHON=python3.11   the interpreter that .venv is made with (default: python3)
#   PIP_FIND_LINKS=...  folders with wheels, as pip reads it; a wheel of mmcv in one is used
#   MAX_JOBS=2          compiler processes (default: one per core)
#
# Killed at any point, the next run finishes the job: what is done is kept, half-made things are
# recognised (.venv/.unfinished, no INSTALLER file, no stamp), results are moved into place whole.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

PYTHON=${PYTHON:-python3}
PY=.venv/bin/python
STAMP=.venv/.bootstrapped
WHEELS=.wheels
MMCV=$(sed -n 's/^mmcv==//p' requirements.txt)
TORCH=$(sed -n 's/^torch==//p' requirements.txt)

say() { echo "[set-up] $*"; }
fail() { echo "error: $*" >&2; exit 1; }

# What the environment was made from: the pins, the build, the sources of the extension, the place.
fingerprint() {
    { pwd; cat requirements.txt setup.py tools/bootstrap.sh mmseg_ext/ops/csrc/* 2>/dev/null || true; } |
        sha256sum
}

is_current() { [ -x "$PY" ] && [ "$(cat "$STAMP" 2>/dev/null)" = "$(fingerprint)" ]; }

pip() { "$PY" -m pip --disable-pip-version-check "$@"; }

# ---------------------------------------------------------------- what the machine must have

check_python() {
    command -v "$PYTHON" >/dev/null || fail "'$PYTHON' is not installed: on Debian run" \
        "'apt-get install python3 python3-venv python3-dev g++', or name another one with PYTHON=..."
    "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "the pinned packages need" \
        "Python 3.11 or newer and '$PYTHON' is $("$PYTHON" -V 2>&1 | sed 's/.* //'): install one and" \
        "name it, as in 'make train PYTHON=python3.11'."
    "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null || fail "'$PYTHON' cannot make virtual" \
        "environments: on Debian run 'apt-get install python3-venv$(missing_for_compiling)'."
}

# The Debian packages without which no operator compiles, each after a space; nothing if all are there.
missing_for_compiling() {
    local include
    include=$("$PYTHON" -c 'import sysconfig; print(sysconfig.get_paths()["include"])')
    command -v "${CXX:-c++}" >/dev/null && command -v "${CC:-cc}" >/dev/null || printf ' g++'
    [ -f "$include/Python.h" ] || printf ' python3-dev'
}

check_compiler() {
    local missing
    missing=$(missing_for_compiling)
    [ -z "$missing" ] || fail "mmcv $MMCV must be compiled on this machine, which lacks a C++ compiler" \
        "or the headers of Python: on Debian run 'apt-get install$missing', or name a folder that" \
        "holds a wheel of it in PIP_FIND_LINKS."
}

# ---------------------------------------------------------------- .venv

make_venv() {
    if [ -e .venv/.unfinished ] || ! "$PY" -c '' 2>/dev/null; then
        check_python
        say "making .venv with $("$PYTHON" -V 2>&1)"
        rm -rf .venv
        mkdir .venv
        touch .venv/.unfinished
        "$PYTHON" -m venv .venv
        rm .venv/.unfinished
    fi
    # pip writes INSTALLER last: without it a package may lack files, and pip would not notice
    local info
    for info in .venv/lib/python3*/site-packages/*.dist-info; do
        [ ! -d "$info" ] || [ -e "$info/INSTALLER" ] || rm -rf "$info"
    done
}

install_torch() {
    say "1 of 4: torch $TORCH (about 200 MB for the CPU build, several GB with CUDA)"
    local quiet=-qq
    [ ! -t 1 ] || quiet=
    # requirements.txt as constraints: torch's own needs come in the pinned versions too
    pip install $quiet -c requirements.txt "torch==$TORCH" setuptools wheel ninja
}

install_packages() {
    say "2 of 4: mmengine, mmsegmentation and what they need"
    # shellcheck disable=SC2046  # one word per package is what is wanted
    pip install -qq --no-deps $(sed -n '/^mmcv==/d; /^[A-Za-z]/p' requirements.txt)
}

# ---------------------------------------------------------------- mmcv with its operators

has_mmcv() {
    "$PY" - "$MMCV" <<'EOF' 2>/dev/null
import sys
from importlib.metadata import distribution
mmcv = distribution('mmcv')
sys.exit(mmcv.version != sys.argv[1] or not any('_ext.' in f.name for f in mmcv.files))
EOF
}

mmcv_works() { "$PY" -W ignore -c 'import mmcv.ops' 2>/dev/null; }

# Each of the three prints the path of a wheel, or fails.

found_wheel() {
    rm -rf "$WHEELS/found"
    pip download -qq --no-deps --only-binary mmcv -d "$WHEELS/found" "mmcv==$MMCV" >/dev/null 2>&1 &&
        ls "$WHEELS"/found/mmcv-*.whl
}

cached_wheel() {
    local tag
    tag=$("$PY" -c 'import sys; print("cp%d%d" % sys.version_info[:2])')
    ls "$WHEELS/mmcv-$MMCV-$tag-$tag"-*.whl 2>/dev/null
}

built_wheel() {
    check_compiler
    local source=$WHEELS/build/mmcv-$MMCV log=$WHEELS/mmcv-build.log
    local jobs=${MAX_JOBS:-$(nproc)}
    say "compiling mmcv's operators, this once: about $((11 / jobs + 1)) minutes with $jobs processes" >&2

    if [ ! -d "$source" ]; then
        rm -rf "$WHEELS/source"
        pip download -qq --no-deps --no-binary mmcv --no-build-isolation \
            -d "$WHEELS/source" "mmcv==$MMCV" >&2 &&
            tar -xzf "$WHEELS/source/mmcv-$MMCV.tar.gz" -C "$WHEELS/source" &&
            mkdir -p "$WHEELS/build" &&
            mv "$WHEELS/source/mmcv-$MMCV" "$source" ||
            fail "the source package of mmcv $MMCV could not be fetched; pip's reason is above."
    fi

    # A machine with a GPU but without nvcc gets the CPU operators.
    command -v nvcc >/dev/null || export CUDA_VISIBLE_DEVICES=
    # CFLAGS replaces Python's own flags (-O3 -DNDEBUG -g -Wall): the operators must stay optimised,
    # while debug symbols would cost a third of the time. ninja goes on where it was killed.
    report_progress "$source" >&2 9>&- &
    local reporter=$!
    local status=0
    PATH="$PWD/.venv/bin:$PATH" MMCV_WITH_OPS=1 CFLAGS='-O3 -DNDEBUG -g0 -w' MAX_JOBS=$jobs \
        "$PY" -m pip wheel --verbose --no-deps --no-build-isolation -w "$WHEELS/new" "./$source" \
        >"$log" 2>&1 || status=$?
    kill "$reporter" 2>/dev/null || true
    if [ $status != 0 ]; then
        # a signal leaves no line with an error behind
        grep -E '(error|Error|fatal|Killed).*:' "$log" | tail -n 5 | cut -c -300 >&2 || true
        fail "mmcv $MMCV did not compile (pip ended with status $status): the whole log is in $log;" \
            "if it was cut off, the same command goes on from there."
    fi
    mv "$WHEELS"/new/mmcv-*.whl "$WHEELS/"
    rm -rf "$WHEELS/build" "$WHEELS/source" "$WHEELS/new"
    cached_wheel
}

# One line every 20 seconds while this script runs. Args: the folder that is being built.
report_progress() {
    local begin=$SECONDS next=20 plan all done
    while sleep 1 && kill -0 $$ 2>/dev/null; do
        [ $((SECONDS - begin)) -ge "$next" ] || continue
        next=$((next + 20))
        plan=$(find "$1/build" -name build.ninja 2>/dev/null | head -n 1)
        [ -n "$plan" ] || continue
        all=$(grep -c '^build .*\.o:' "$plan" || true)
        done=$(find "$1/build" -name '*.o' | wc -l)
        echo "[set-up] mmcv: $done of $all files compiled, $(((SECONDS - begin) / 60)) min" \
            "$(((SECONDS - begin) % 60)) s"
    done
}

install_mmcv() {
    say "3 of 4: mmcv $MMCV with its compiled operators"
    ! has_mmcv || ! mmcv_works || return 0
    local source wheel
    for source in found_wheel cached_wheel built_wheel; do
        if wheel=$($source); then
            pip install -qq --no-deps --force-reinstall "$wheel"
            rm -rf "$WHEELS/found"
            ! mmcv_works || return 0
            say "the operators of $(basename "$wheel") do not load with torch $TORCH"
        fi
    done
    # built_wheel has said why, if it was that
    [ -z "$wheel" ] || "$PY" -c 'import mmcv.ops' || true
    exit 1
}

# ---------------------------------------------------------------- mmseg_ext

install_package() {
    say "4 of 4: mmseg_ext"
    local log=$WHEELS/install.log
    if ! pip install --verbose --no-deps --no-build-isolation -e . >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        fail "mmseg_ext could not be installed; the last lines of $log are above."
    fi
    # pip shows a warning of setup.py only among a hundred other lines
    sed -n 's/^ *warning: mmseg_ext/[set-up] warning: mmseg_ext/p' "$log" | sort -u
}

# ---------------------------------------------------------------- the whole

! is_current || exit 0

# Held by every process started from here, so that a run that outlived its parent is waited for.
mkdir -p "$WHEELS"
exec 9>"$WHEELS/.lock"
if command -v flock >/dev/null && ! flock -n 9; then
    say "another set-up works in this folder: waiting for it"
    flock 9
    ! is_current || exit 0
fi

rm -f "$STAMP"
make_venv
# before the long downloads
has_mmcv || found_wheel >/dev/null || cached_wheel >/dev/null || check_compiler
install_torch
install_packages
install_mmcv
install_package
fingerprint >"$STAMP.new"
mv "$STAMP.new" "$STAMP"
say "done"
