#!/usr/bin/env bash
# Make the pictures of docs/tutorial.md again, by its own commands: docs/pictures/make.sh
# Everything but the pictures goes to FOLDER (default: a new one). It takes about ten minutes on one core.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
FOLDER=${1:-$(mktemp -d)}
mkdir -p "$FOLDER"
FOLDER=$(cd "$FOLDER" && pwd)
export PROJECT_STORAGE_DIR=$FOLDER SCRATCH_STORAGE_DIR=$FOLDER

train() { # CONFIG JOB_ID OVERRIDES; what is there already is not trained again
    [ -f "$FOLDER/runs/$2/summary.json" ] || ./train.sh "configs/$1.yaml" "$2" --fresh --override "$3"
}

for seed in 42 43 44; do
    train digits_difflogic "difflogic_$seed" "base.seed=$seed train.epochs=8"
    train digits_mlp "mlp_$seed" "base.seed=$seed train.epochs=4"
    train digits_cnn "cnn_$seed" "base.seed=$seed train.epochs=4"
    train digits_snn "snn_$seed" "base.seed=$seed train.epochs=4"
done
train digits_difflogic difflogic_small_42 "train.epochs=8 model.difflogic.num_neurons=1500"
train digits_difflogic difflogic_wide_42 "train.epochs=8 model.difflogic.num_neurons=8000"
train digits_mlp mlp_small_42 "train.epochs=4 model.mlp.hidden=[64]"
train digits_snn snn_rate_42 \
    "train.epochs=4 model.snn.readout=rate model.snn.architecture=8C5-MP2-32C5-MP2-FC10"

MADE=$FOLDER/tutorial
./report.sh run difflogic_42 --output "$MADE/difflogic_42"
./report.sh run snn_rate_42 --output "$MADE/snn_rate_42"
./report.sh aggregate --output "$MADE/aggregated_runs.csv"
./report.sh dashboard --csv "$MADE/aggregated_runs.csv" --output "$MADE/dashboard.png"
./report.sh dashboard --csv "$MADE/aggregated_runs.csv" --output "$MADE/dashboard.html"
if command -v chromium >/dev/null; then
    chromium --headless --no-sandbox --disable-gpu --hide-scrollbars --window-size=1280,1000 \
        --user-data-dir="$FOLDER/chromium" --screenshot="$MADE/page.png" "file://$MADE/dashboard.html" \
        2>"$FOLDER/chromium.log" || printf 'note: page.png is as before: chromium failed, see %s\n' "$FOLDER/chromium.log" >&2
else
    printf 'note: page.png is as before: there is no chromium\n' >&2
fi
.venv/bin/python docs/pictures/shrink.py "$MADE" docs/pictures
