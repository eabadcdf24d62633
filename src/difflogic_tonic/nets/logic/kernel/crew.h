/* Threads that take the pieces of a job in turns, phase after phase, and the memory that they work in. */

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#define MAX_CREW 256
#define MAX_PHASES 2

struct crew {
    void *job;
    int phases;
    int64_t items[MAX_PHASES];
    void (*phase[MAX_PHASES])(void *job, float *scratch, int64_t item);
    int64_t shared_floats, scratch_floats; /* for all of them together, and for each */
    float *shared, *scratch;
    atomic_llong next[MAX_PHASES], finished[MAX_PHASES];
    atomic_int workers;
};

/* Gradients behind many gates that pass one input on get below 1e-38, where arithmetic takes a hundred times longer:
 * they are 0 while the crew works. Returns the mode to go back to. */
static unsigned flush_tiny(void)
{
#if defined(__x86_64__)
    unsigned before = _mm_getcsr();
    _mm_setcsr(before | 0x8040); /* results, and operands */
    return before;
#else
    return 0;
#endif
}

static void restore_tiny(unsigned mode)
{
#if defined(__x86_64__)
    _mm_setcsr(mode);
#else
    (void)mode;
#endif
}

static void *crew_member(void *argument)
{
    struct crew *crew = argument;
    unsigned mode = flush_tiny();
    float *scratch = crew->scratch + atomic_fetch_add(&crew->workers, 1) * crew->scratch_floats;
    for (int phase = 0; phase < crew->phases; phase++) {
        long long item;
        while ((item = atomic_fetch_add(&crew->next[phase], 1)) < crew->items[phase]) {
            crew->phase[phase](crew->job, scratch, item);
            atomic_fetch_add(&crew->finished[phase], 1);
        }
        if (phase + 1 == crew->phases)
            break; /* the caller joins */
        for (int spins = 0; atomic_load(&crew->finished[phase]) < crew->items[phase]; spins++)
            if (spins > 200)
                sched_yield();
    }
    restore_tiny(mode);
    return 0;
}

/* One block of memory is kept between calls: fresh pages cost as much as a layer. */
static _Atomic(float *) crew_spare;

static float *crew_block(size_t floats)
{
    float *block = atomic_exchange(&crew_spare, 0);
    if (block && *(size_t *)block >= floats)
        return block;
    free(block);
    block = aligned_alloc(64, (floats + 16) * sizeof(float));
    if (block)
        *(size_t *)block = floats;
    return block;
}

/* 0, or -1 where there is no memory. */
static int crew_run(struct crew *crew, int64_t threads)
{
    int64_t most = crew->items[0];
    for (int phase = 1; phase < crew->phases; phase++)
        most = crew->items[phase] > most ? crew->items[phase] : most;
    threads = threads < most ? threads : most;
    threads = threads < 1 ? 1 : threads > MAX_CREW ? MAX_CREW : threads;
    crew->shared_floats = (crew->shared_floats + 15) / 16 * 16;
    crew->scratch_floats = (crew->scratch_floats + 15) / 16 * 16;
    float *block = crew_block((size_t)(crew->shared_floats + threads * crew->scratch_floats));
    if (!block)
        return -1;
    crew->shared = block + 16;
    crew->scratch = crew->shared + crew->shared_floats;
    pthread_t started[MAX_CREW];
    int64_t count = 0;
    /* a thread that cannot be started is not missed: the others take its work */
    while (count < threads - 1 && pthread_create(&started[count], 0, crew_member, crew) == 0)
        count++;
    crew_member(crew);
    while (count > 0)
        pthread_join(started[--count], 0);
    free(atomic_exchange(&crew_spare, block));
    return 0;
}
