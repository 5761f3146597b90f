#!/usr/bin/env bash
# What only a GPU can show, on a machine that has CUDA's compiler, a CUDA build of torch and perhaps
# no internet. Each step takes less than ten minutes, may be repeated, and goes on where it stopped.
#
#   STEP=wheels     on a machine with internet: collects in .wheels/cuda what the others install
#   STEP=build      an environment (.venv-cuda) on top of the machine's torch; mmcv's operators,
#                   compiled once for this GPU; mmseg_ext
#   STEP=test       the tests of the ops, in which the kernels run on the GPU
#   STEP=train      some iterations of a region config, and of SEMEDA with --amp
#   STEP=benchmark  every benchmark on the GPU, a family at a time
#   (none)          build, test, train, benchmark
#
#   PYTHON=python3      the Python whose torch is used
#   PYTHON_VERSION=3.12 and PLATFORM=x86_64: for which `wheels` collects
#   HAVE='numpy scipy'  packages that the machine has already, which `wheels` leaves out
#   MMCV_CUDA=0         compiles mmcv without its kernels for CUDA, where those do not compile
#   OUT=folder          gets the wheel of mmcv (put into .wheels/cuda, it spares the compiling), the
#                       logs and the results
#   DRY=1               prints the commands and runs none
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

PYTHON=${PYTHON:-python3}
PYTHON_VERSION=${PYTHON_VERSION:-3.12}
PLATFORM=${PLATFORM:-x86_64}
MMCV_CUDA=${MMCV_CUDA:-1}
STEP=${STEP:-build test train benchmark}
VENV=.venv-cuda
PY=$VENV/bin/python
WHEELS=.wheels/cuda
BUILT=$WHEELS/built
LOGS=${OUT:-work_dirs/cuda}
RESULTS=${OUT:-mmseg_ext/benchmarks/results}
WORK=work_dirs/cuda
MMCV=$(sed -n 's/^mmcv==//p' requirements.txt)
export PYTHONUNBUFFERED=1

say() { echo "[cuda] $*"; }
fail() { echo "error: $*" >&2; exit 1; }

# Runs a command, or prints it.
run() {
    if [ -n "${DRY:-}" ]; then printf '%q ' "$@"; echo; else "$@"; fi
}

# Runs a command whose output is also kept. Args: the name of the log, the command.
logged() {
    local log=$LOGS/$1.log
    shift
    if [ -n "${DRY:-}" ]; then run "$@"; else mkdir -p "$LOGS"; "$@" 2>&1 | tee "$log"; fi
}

# ---------------------------------------------------------------- wheels

# The pins that the machine lacks: not torch and what torch needs, which it has, nor mmcv, which it
# compiles, nor the tool for style.
pins() {
    sed -n '/^# what torch needs/,/^$/d; /^\(torch\|mmcv\|ruff\)==/d; s/^\([A-Za-z].*\)$/\1/p' \
        requirements.txt | grep -vE "^($(echo "${HAVE:--}" | tr -s ' ' '|'))=="
}

step_wheels() {
    local python=$PYTHON glibc platforms=()
    [ ! -x .venv/bin/python ] || python=.venv/bin/python
    # pip takes each name as it stands
    for glibc in 2014 1 2_5 2_12 2_17 2_24 2_26 2_27 2_28 2_31 2_34; do
        platforms+=(--platform "manylinux${glibc/#2_/_2_}_$PLATFORM")
    done
    # shellcheck disable=SC2046  # one word per package is what is wanted
    run "$python" -m pip download --no-deps --only-binary=:all: --implementation cp \
        --python-version "${PYTHON_VERSION/./}" "${platforms[@]}" -d "$WHEELS" $(pins)
    run "$python" -m pip download --no-deps --no-binary mmcv --no-build-isolation \
        -d "$WHEELS" "mmcv==$MMCV"
    [ -n "${DRY:-}" ] || say "$(du -sh "$WHEELS" | cut -f 1) in $WHEELS: take the checkout and this" \
        'folder to the machine with the GPU, and run `make cuda` there'
}

# ---------------------------------------------------------------- build

check_gpu() {
    [ -z "${DRY:-}" ] || return 0
    "$PYTHON" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' 2>/dev/null || fail \
        "there is no GPU here that torch of '$PYTHON' can use; \`make test\` needs none."
}

make_venv() {
    [ ! -x "$PY" ] || [ -e "$VENV/.made" ] || rm -rf "$VENV"
    [ ! -e "$VENV/.made" ] || return 0
    run "$PYTHON" -m venv --system-site-packages --without-pip "$VENV"
    [ -z "${DRY:-}" ] || return 0
    # Where PYTHON is itself of an environment, --system-site-packages does not show its packages.
    "$PYTHON" -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
        >"$("$PY" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/parent.pth"
    touch "$VENV/.made"
}

install() { run "$PY" -m pip install -q --no-deps --no-index --ignore-installed "$@"; }

# The path of a wheel, or nothing.
mmcv_wheel() { find "$BUILT" "$WHEELS" -maxdepth 1 -name "mmcv-$MMCV-*.whl" 2>/dev/null | head -n 1 || true; }

build_mmcv() {
    local source=$WHEELS/build/mmcv-$MMCV arch='' jobs=${MAX_JOBS:-$(nproc)}
    if [ -z "${DRY:-}" ]; then
        [ -f "$WHEELS/mmcv-$MMCV.tar.gz" ] ||
            fail "$WHEELS/mmcv-$MMCV.tar.gz is missing: \`make cuda STEP=wheels\` fetches it."
        [ "$MMCV_CUDA" = 0 ] || command -v nvcc >/dev/null || [ -x "${CUDA_HOME:-}/bin/nvcc" ] ||
            fail "CUDA's compiler nvcc is missing, with which mmcv's kernels are compiled; without" \
                'them: `make cuda MMCV_CUDA=0`.'
        arch=$("$PY" -c 'import torch; print("%d.%d" % torch.cuda.get_device_capability())')
        mkdir -p "$WHEELS/build"
        [ -d "$source" ] || tar -xzf "$WHEELS/mmcv-$MMCV.tar.gz" -C "$WHEELS/build"
    fi
    say "compiling mmcv's operators${arch:+ for compute capability $arch}, this once"
    local environment=(MMCV_WITH_OPS=1 "CFLAGS=-O3 -DNDEBUG -g0 -w" "MAX_JOBS=$jobs"
                       "PATH=$PWD/$VENV/bin:$PATH")
    if [ "$MMCV_CUDA" = 0 ]; then
        environment+=(FORCE_CUDA=0 CUDA_VISIBLE_DEVICES=)
    else
        environment+=(FORCE_CUDA=1 "TORCH_CUDA_ARCH_LIST=${arch:-of the GPU}")
    fi
    logged mmcv-build env "${environment[@]}" "$PY" -m pip wheel --no-deps --no-build-isolation \
        -w "$WHEELS/new" "./$source" ||
        fail "mmcv did not compile ($LOGS/mmcv-build.log); the same command goes on from there, and" \
            '`make cuda MMCV_CUDA=0` compiles it without its kernels for CUDA.'
    run mkdir -p "$BUILT"
    run mv "$WHEELS/new/mmcv-$MMCV"-*.whl "$BUILT"
    [ -z "${OUT:-}" ] || run cp "$BUILT/mmcv-$MMCV"-*.whl "$OUT"
}

step_build() {
    local wheel
    check_gpu
    make_venv
    if [ -n "${DRY:-}" ]; then
        install "$WHEELS/*.whl"
    elif ls "$WHEELS"/*.whl >/dev/null 2>&1; then
        # shellcheck disable=SC2046  # one word per wheel
        install $(ls "$WHEELS"/*.whl | grep -v '/mmcv-')
    else
        fail "$WHEELS holds no wheels: \`make cuda STEP=wheels\` collects them, where there is" \
            'internet.'
    fi
    if [ -n "${DRY:-}" ] || ! "$PY" -W ignore -c 'import mmcv.ops' 2>/dev/null; then
        [ -n "$(mmcv_wheel)" ] || build_mmcv
        wheel=$(mmcv_wheel)
        install "${wheel:-$BUILT/mmcv-$MMCV-*.whl}"
    fi
    run env "PATH=$PWD/$VENV/bin:$PATH" "$PY" -m pip install -q --no-deps --no-build-isolation -e .
    run "$PY" -W ignore -c 'import mmseg_ext, mmcv.ops, torch
print("torch", torch.__version__, "mmcv for CUDA", mmcv.ops.get_compiling_cuda_version())'
}

need_build() {
    check_gpu
    [ -n "${DRY:-}" ] || [ -e "$VENV/.made" ] ||
        fail "$VENV is missing: \`make cuda STEP=build\` makes it."
}

# ---------------------------------------------------------------- test, train, benchmark

step_test() {
    need_build
    logged test "$PY" -m pytest -q -rs tests/ops
}

step_train() {
    need_build
    local options=(train_cfg.max_iters=20 train_cfg.val_interval=20 default_hooks.logger.interval=5)
    logged train-region "$PY" tools/train.py \
        configs/regions/region_vgg11bn-w16_1xb4-800_scenes-128x128.py \
        --work-dir "$WORK/region" --cfg-options "${options[@]}"
    # No config has SEMEDA on drawn scenes, which need no download: this is the quickstart's with it.
    run mkdir -p "$WORK"
    [ -n "${DRY:-}" ] || cat >"$WORK/semeda.py" <<'CONFIG'
_base_ = '../../configs/quickstart/lrn_vgg11bn-w16_1xb4-800_scenes-128x128.py'
model = dict(decode_head=dict(loss_decode=[
    dict(type='CrossEntropyLoss'),
    dict(type='SEMEDALoss', num_classes=10, layer_weights=(4, 2, 0))]))
CONFIG
    logged train-semeda "$PY" tools/train.py "$WORK/semeda.py" --amp \
        --work-dir "$WORK/semeda" --cfg-options "${options[@]}"
}

step_benchmark() {
    need_build
    local family cases
    if [ -n "${DRY:-}" ]; then
        run "$PY" tools/benchmark.py --device cuda --case 'CASES OF A FAMILY' \
            --out "$RESULTS/FAMILY_cuda.json"
        return
    fi
    "$PY" -W ignore tools/benchmark.py --list >"$VENV/cases"
    for family in $(sed -n 's/^[^ ]* (\([^)]*\)):.*/\1/p' "$VENV/cases" | sort -u); do
        # measured already, with this very code
        [ ! -f "$VENV/measured-$family" ] || [ ! -f "$RESULTS/${family}_cuda.json" ] ||
            [ -n "$(find mmseg_ext tools -name '*.py' -newer "$VENV/measured-$family")" ] || continue
        cases=$(sed -n "s/^\([^ ]*\) ($family):.*/\1/p" "$VENV/cases" | paste -sd '|')
        say "benchmarks of $family"
        "$PY" tools/benchmark.py --device cuda --case "^($cases)\$" \
            --out "$RESULTS/${family}_cuda.json"
        touch "$VENV/measured-$family"
    done
    say "results: $RESULTS/*_cuda.json"
}

for step in $STEP; do
    case $step in
        wheels | build | test | train | benchmark) "step_$step" ;;
        *) fail "STEP must be wheels, build, test, train or benchmark, got '$step'." ;;
    esac
done
