#include "pool.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum { MAX_WORKERS = 255, LOOKS = 2000 }; /* looks of about 10 ns: as long as falling asleep takes */

/* One job at a time.  Every worker takes part in every job, if only to see that it has no part, so
 * that none can still be at the last job when the next one is written. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t work, done;
    int workers;
    unsigned joined;  /* the job after which the newest workers came */
    atomic_uint job;  /* number of the last one */
    atomic_int left;  /* workers that are not through with it */
    int parts;
    void (*fn)(int part, void *arg);
    void *arg;
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER,
          .work = PTHREAD_COND_INITIALIZER,
          .done = PTHREAD_COND_INITIALIZER};

static void relax(void)
{
#if defined __x86_64__
    __builtin_ia32_pause();
#endif
}

static void wait_for_job(unsigned last)
{
    for (int i = 0; i < LOOKS; i++, relax())
        if (atomic_load(&pool.job) != last) return;
    pthread_mutex_lock(&pool.lock);
    while (atomic_load(&pool.job) == last)
        pthread_cond_wait(&pool.work, &pool.lock);
    pthread_mutex_unlock(&pool.lock);
}

static void *work(void *first)
{
    const int part = (int)(intptr_t)first;
    for (unsigned last = pool.joined;; last++) {
        wait_for_job(last);
        if (part < pool.parts) pool.fn(part, pool.arg);
        if (atomic_fetch_sub(&pool.left, 1) > 1) continue;
        pthread_mutex_lock(&pool.lock);
        pthread_cond_signal(&pool.done);
        pthread_mutex_unlock(&pool.lock);
    }
    return NULL;
}

static void wait_for_workers(void)
{
    for (int i = 0; i < LOOKS; i++, relax())
        if (atomic_load(&pool.left) == 0) return;
    pthread_mutex_lock(&pool.lock);
    while (atomic_load(&pool.left) > 0)
        pthread_cond_wait(&pool.done, &pool.lock);
    pthread_mutex_unlock(&pool.lock);
}

static void hire(int workers)
{
    pool.joined = atomic_load(&pool.job);
    for (; pool.workers < workers; pool.workers++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, work, (void *)(intptr_t)(pool.workers + 1)) != 0) return;
        pthread_detach(thread);
    }
}

void fl_pool_run(int parts, void (*fn)(int part, void *arg), void *arg)
{
    const int wanted = parts - 1 < MAX_WORKERS ? parts - 1 : MAX_WORKERS;
    if (pool.workers < wanted) hire(wanted);
    pool.parts = parts;
    pool.fn = fn;
    pool.arg = arg;
    atomic_store(&pool.left, pool.workers);
    pthread_mutex_lock(&pool.lock);
    atomic_fetch_add(&pool.job, 1);
    pthread_cond_broadcast(&pool.work);
    pthread_mutex_unlock(&pool.lock);
    fn(0, arg);
    for (int part = pool.workers + 1; part < parts; part++)
        fn(part, arg);
    wait_for_workers();
}
