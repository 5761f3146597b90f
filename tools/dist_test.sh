#!/usr/bin/env bash
# Test a checkpoint in several processes, one per GPU, or on the CPU where there is no GPU:
#   tools/dist_test.sh CONFIG CHECKPOINT PROCESSES [options of tools/test.py]
# From the environment: NNODES, NODE_RANK, MASTER_ADDR and PORT as torchrun means them, PYTHON.
set -euo pipefail
if [ $# -lt 3 ]; then
    echo "usage: $0 CONFIG CHECKPOINT PROCESSES [options of tools/test.py]" >&2
    exit 2
fi
CONFIG=$1
CHECKPOINT=$2
PROCESSES=$3
shift 3
PYTHON=${PYTHON:-python}

# With GPUs one thread per process, as torchrun sets it; on the CPU the processes share the cores.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$("$PYTHON" -c "import os, torch
print(1 if torch.cuda.is_available() else max(1, os.cpu_count() // $PROCESSES))")}

exec "$PYTHON" -m torch.distributed.run \
    --nnodes="${NNODES:-1}" \
    --node_rank="${NODE_RANK:-0}" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" \
    --master_port="${PORT:-29500}" \
    --nproc_per_node="$PROCESSES" \
    "$(dirname "$0")/test.py" "$CONFIG" "$CHECKPOINT" --launcher pytorch "$@"
