# shellcheck shell=bash
# Sourced by helper_scripts/environment.sh: how a command is run. On a laptop `launch COMMAND…` is `exec COMMAND…`.
#
# In a SLURM batch job the shell stays, forwards USR1 (time limit) and TERM (preemption) to the command, once each, and
# queues the job again where the command says that it stopped and saved: exit code 75, or the same in the file that
# JOB_REPORT names, for launchers that lose exit codes. Nothing else is ever queued again. Such a job
# stops after REQUEUES_WITHOUT_PROGRESS (default 5) requeues in a row that came no step further.
#
# No trap on CONT: SLURM sends CONT just before USR1, and bash would lose the USR1. The traps start no process.

batch_child=
batch_signal=${batch_signal:-} # the wrapper may have got one already
batch_signals=0

in_batch_job() {
    [ -n "${SLURM_JOB_ID:-}" ] && [ -n "${SLURM_TASK_PID:-}" ] && [ -z "${SLURM_STEP_ID:-}" ] &&
        command -v scontrol >/dev/null
}

on_batch_signal() {
    batch_signal=$1
    batch_signals=$((batch_signals + 1))
    [ -z "$batch_child" ] || kill -s "$1" "$batch_child" 2>/dev/null || true
}

batch_says() {
    printf '[job %s%s] %s\n' "$SLURM_JOB_ID" "${SLURM_RESTART_COUNT:+, restart $SLURM_RESTART_COUNT}" "$*"
}

# From here on a signal is not lost; it ends what `attend` runs, or keeps it from starting.
begin_batch() {
    in_batch_job || return 0
    trap 'on_batch_signal USR1' USR1
    trap 'on_batch_signal TERM' TERM
    # One task of an array, not all of them: the id of its last task is the id of the array.
    batch_id=${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID}
    batch_id=${batch_id:-$SLURM_JOB_ID}
    batch_folder=${PROJECT_STORAGE_DIR:-${SCRATCH_STORAGE_DIR:-$REPOSITORY/storage}}/slurm
    mkdir -p "$batch_folder" 2>/dev/null || true # a place that cannot be written is reported by the command
    batch_log=$batch_folder/$SLURM_JOB_ID.log
    export JOB_REPORT=$batch_folder/$SLURM_JOB_ID.report
    # A report that cannot be taken away would speak for this start too.
    rm -f "$JOB_REPORT" 2>/dev/null || JOB_REPORT=${TMPDIR:-/tmp}/$SLURM_JOB_ID.report
    [ -n "${SLURM_RESTART_COUNT:-}" ] || rm -f "$batch_log" 2>/dev/null || true # of an older job with this number
    # Of several tasks each finds its share by itself.
    [ -n "${OMP_NUM_THREADS:-}" ] || [ "${SLURM_NTASKS:-1}" -gt 1 ] ||
        export OMP_NUM_THREADS="${SLURM_CPUS_PER_TASK:-${SLURM_CPUS_ON_NODE:-1}}"
    if [ -z "${SLURM_JOB_END_TIME:-}" ]; then # SLURM 23.02 and later say it
        local end
        end=$(squeue -h -j "$batch_id" -o %e 2>/dev/null) || end=
        SLURM_JOB_END_TIME=$(date -d "$end" +%s 2>/dev/null) && [ -n "$end" ] && export SLURM_JOB_END_TIME
    fi
    return 0
}

# Run COMMAND…, passing signals on; its exit code. In no batch job: just run it.
attend() {
    if ! in_batch_job; then
        "$@"
        return
    fi
    [ -z "$batch_signal" ] || return 75
    "$@" &
    batch_child=$!
    # A signal between these two lines met no child.
    [ -z "$batch_signal" ] || kill -s "$batch_signal" "$batch_child" 2>/dev/null || true
    local code=0 again=0 seen
    while :; do
        seen=$batch_signals
        again=0
        wait "$batch_child" || again=$?
        [ "$again" -eq 127 ] || code=$again # 127: it had ended before the last signal
        [ "$seen" -ne "$batch_signals" ] || break
    done
    batch_child=
    # Python dies of a signal that comes before it listens; nothing was begun then.
    if { [ "$batch_signal" = USR1 ] && [ "$code" -eq 138 ]; } || { [ -n "$batch_signal" ] && [ "$code" -eq 143 ]; }; then
        code=75
    fi
    return "$code"
}

# Run COMMAND… in place of this shell; a batch job of several tasks runs it once in each, by srun.
launch() {
    if ! in_batch_job; then
        [ -z "$batch_signal" ] || exit 143 # it came while the environment was being set up
        exec "$@"
    fi
    local code=0
    if [ "${LAUNCH_TASKS:-no}" = yes ] && [ "${SLURM_NTASKS:-1}" -gt 1 ]; then
        # Since 22.05 srun does not know by itself how many processors sbatch was asked for.
        attend srun ${SLURM_CPUS_PER_TASK:+--cpus-per-task="$SLURM_CPUS_PER_TASK"} --kill-on-bad-exit=1 "$@" || code=$?
    else
        attend "$@" || code=$?
    fi
    end_batch "$code"
}

# The end of a batch job whose command ended with CODE: queue it again, or exit with that code.
end_batch() {
    local code=$1 said=- position=-
    if [ -r "${JOB_REPORT:-}" ]; then
        read -r said position <"$JOB_REPORT" || true
    fi
    if [ "$code" -ne 75 ] && { [ "$code" -eq 0 ] || [ "$said" != 75 ]; }; then
        exit "$code"
    fi
    [ "$position" != - ] || position=files-$(count_files) # stopped before the first step, or while preparing data
    case $(fate) in
    cancelled)
        batch_says "cancelled: not queued again"
        exit 75
        ;;
    requeued)
        batch_says "stopped${batch_signal:+ by $batch_signal} and saved; SLURM queues it again"
        exit 75
        ;;
    esac
    check_progress "$position"
    note "requeued $position"
    batch_says "stopped${batch_signal:+ by $batch_signal} and saved; queueing it again"
    requeue_job
    # Whoever exits before SLURM ends it counts as finished. It does so with TERM, which may have come already.
    [ "$batch_signals" -eq 0 ] || exit 75
    trap - USR1 TERM
    exec sleep 600
}

# What preparing and staging have made so far: they make few files, each whole. That one goes away while `find` looks, as
# other jobs rename theirs, must not keep this job from being queued again. The last / follows a link.
count_files() {
    local place
    for place in "${PROJECT_STORAGE_DIR:-$REPOSITORY/storage}" "${SCRATCH_STORAGE_DIR:-$REPOSITORY/storage}"; do
        [ ! -d "$place/data" ] || find "$place/data/" -type f 2>/dev/null || true
    done | wc -l
}

# What becomes of this job unless we do something: `runs`, `ended` (by the time limit, or preempted where that cancels),
# `requeued` (SLURM does it already) or `cancelled` (somebody did not want it any more). All but the first say COMPLETING.
fate() {
    local job state
    job=" $(scontrol show job --oneliner "$batch_id" 2>/dev/null) "
    state=${job#* JobState=}
    state=${state%% *}
    case $job in
    *" Restarts=${SLURM_RESTART_COUNT:-0} "*) ;;
    *" Restarts="*) state=requeued ;;
    esac
    case $state in
    requeued | PENDING* | REQUEUE*) echo requeued ;;
    COMPLETING | CANCELLED*)
        case $job in
        *" Reason=TimeLimit "* | *" PreemptTime="[0-9]*) echo ended ;;
        *) echo cancelled ;;
        esac
        ;;
    *) echo runs ;; # also where slurmctld does not answer
    esac
}

requeue_job() {
    local answer try
    batch_signals=0
    for try in 1 2 3 4 5; do
        # SLURM answers a requeue with a TERM to all processes of the job: scontrol must live to tell.
        answer=$(trap '' TERM && exec scontrol requeue "$batch_id" 2>&1) && return
        # Preemption or somebody else was faster.
        [ "$(fate)" != requeued ] || return 0
        [ "$try" -eq 5 ] || sleep 2
    done
    batch_says "error: saved, but SLURM does not queue it again (${answer:-no answer}); submit it once more with --resume"
    exit 75
}

check_progress() {
    local limit=${REQUEUES_WITHOUT_PROGRESS:-5} idle
    if [ -r "$batch_log" ]; then
        # Requeues at the end of the log that were at this position.
        idle=$(awk -v now="$1" '$2 == "requeued" { n = $3 == now ? n + 1 : 0 } END { print n + 0 }' "$batch_log")
    else
        idle=${SLURM_RESTART_COUNT:-0}
    fi
    if [ "$idle" -ge "$limit" ]; then
        note "stopped $1"
        batch_says "error: $idle requeues in a row without a step of progress (at $1): not queued again;" \
            "give the job more time (--time), then submit it once more with --resume; its history: $batch_log"
        exit 75
    fi
}

note() {
    printf '%(%FT%T%z)T %s restart %s on %s\n' -1 "$1" "${SLURM_RESTART_COUNT:-0}" "${SLURMD_NODENAME:-$HOSTNAME}" \
        2>/dev/null >>"$batch_log" || true
}
