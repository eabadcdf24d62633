#!/usr/bin/env bash
# usage: helper_scripts/sync_data_to_remote.sh [DATASET | DATASET/START]... [--dry-run] [--help]
#
# Bring prepared datasets to REMOTE_PROJECT_STORAGE_DIR/data on REMOTE_HOST: all that are complete here, or those that are
# named, START being the start of a fingerprint, as ./check_and_sync_data.sh shows them.
#
# A variant is sent into a hidden folder beside its place, shards first and the manifest last, then read again at both ends,
# and only then gets its name: a job there sees all of it or nothing. An interrupted transfer goes on where it was. Nothing
# is removed there but a damaged copy that has been replaced.
#
#   --dry-run   only list what would be sent
#   SYNC_KBYTES_PER_SECOND=N limits the speed.
set -euo pipefail
# shellcheck source=helper_scripts/sync_functions.sh
. "$(dirname "${BASH_SOURCE[0]}")/sync_functions.sh"

DRY_RUN=
names=()
for word in "$@"; do
    case $word in
    -h | --help) show_help ;;
    --dry-run) DRY_RUN=yes ;;
    -* | '') fail "unknown argument '$word'; see $NAME --help" 2 ;;
    *) names+=("$word") ;;
    esac
done

# Lines DATASET/FINGERPRINT<TAB>FOLDER of what is complete here, project storage before scratch.
complete_here() {
    local place manifest folder
    local -A seen=()
    for place in "${PROJECT_STORAGE_DIR:-${SCRATCH_STORAGE_DIR:-$REPOSITORY/storage}}" "${SCRATCH_STORAGE_DIR:-}"; do
        [ -n "$place" ] || continue
        for manifest in "$place"/data/*/*/manifest.json; do
            folder=${manifest%/manifest.json}
            variant=${folder#"$place"/data/}
            [[ ${variant#*/} =~ ^[0-9a-f]{64}$ && -z ${seen[$variant]:-} ]] || continue
            seen[$variant]=yes
            printf '%s\t%s\n' "$variant" "$folder"
        done
    done
}

# is_wanted VARIANT NAMES…
is_wanted() {
    local variant=$1 name
    shift
    [ $# -gt 0 ] || return 0
    for name in "$@"; do
        [[ $variant == "$name"/* || ($name == */* && $variant == "$name"*) ]] && return
    done
    return 1
}

# Whether the copy there has this manifest, which has the checksums of all shards, and every file with its size.
is_there() {
    local folder=$1 target=$2 digest
    digest=$(sha256sum <"$folder/manifest.json")
    [ "$(remote "cat -- $(quoted "$target/manifest.json") 2>/dev/null | sha256sum")" = "$digest" ] || return 1
    DRY_RUN=yes run_rsync "$variant" --size-only "$folder/" "$HOST:$target/"
    [ "$N_FILES" -eq 0 ]
}

send() {
    local folder=$1 target=$2 staging=${2%/*}/.sync-${2##*/} aside
    make_folder "$staging"
    run_rsync "$variant" --exclude=manifest.json "$folder/" "$HOST:$staging/"
    files=$N_FILES bytes=$N_BYTES
    run_rsync "$variant" "$folder/manifest.json" "$HOST:$staging/"
    files=$((files + N_FILES)) bytes=$((bytes + N_BYTES))
    DRY_RUN=yes run_rsync "$variant" --checksum "$folder/" "$HOST:$staging/"
    [ "$N_FILES" -eq 0 ] || fail "$variant: what was sent reads back differently at $HOST:$staging ($(sed -n 's/.*|//p' \
        "$WORK/files" | head -n 3 | tr '\n' ' ')); check that disk, or whether something changes $folder"
    aside=$(quoted "${target%/*}/.replaced-$(date +%s)-${target##*/}")
    staging=$(quoted "$staging") target=$(quoted "$target")
    # Something without this manifest has the name already: damaged, or a variant that somebody is making by hand.
    remote "if [ -e $target ]; then mv -T -- $target $aside || exit; fi; mv -T -- $staging $target && \
sync -f $target/.. && rm -rf -- $aside" 2>"$WORK/ssh.log" || fail "$variant could not be given its name at $REMOTE_HOST: $(last_line "$WORK/ssh.log")"
}

# The lines of what is here that any of the NAMES means; all without names.
list_wanted() {
    while IFS=$'\t' read -r variant folder; do
        if is_wanted "$variant" "$@"; then
            printf '%s\t%s\n' "$variant" "$folder"
        fi
    done <"$WORK/here"
}

read_settings
need_absolute REMOTE_PROJECT_STORAGE_DIR "project storage on the cluster"
complete_here | LC_ALL=C sort >"$WORK/here"
for name in "${names[@]:-}"; do # each by itself: one that is mistyped must not go unnoticed beside others
    [ -n "$(list_wanted ${name:+"$name"})" ] || fail "no complete prepared dataset $name${name:+ }here; \
./check_and_sync_data.sh shows what there is, ./prepare_data.sh makes one" 4
done
list_wanted "${names[@]}" >"$WORK/wanted"
connect

n_sent=0 n_there=0
while IFS=$'\t' read -r variant folder <&3; do
    target=$REMOTE_PROJECT_STORAGE_DIR/data/$variant
    if is_there "$folder" "$target"; then
        n_there=$((n_there + 1))
    elif [ -n "$DRY_RUN" ]; then
        say "would send $variant ($(size_text "$(du -sb "$folder" | cut -f1)"))"
    else
        send "$folder" "$target"
        n_sent=$((n_sent + 1))
        say "sent $variant: $files files ($(size_text "$bytes"))"
    fi
done 3<"$WORK/wanted"
say "$n_sent variants sent, $n_there were there already: $HOST:$REMOTE_PROJECT_STORAGE_DIR/data"
