/* The scheduler: the blocks of a launch, and the fibres of a block. */
#include "kernels/emu/emu.h"

#include "kernels/emu/block.h"
#include "kernels/emu/fibre.h"
#include "kernels/emu/sanitize.h"

#include <stdio.h>
#include <sys/mman.h>

extern "C" {
#include "base/status.h"
}

namespace fl_emu
{

/* Stacks are touched as far as they are used; sanitizers use more. */
enum : size_t { STACK_BYTES = 256 << 10 };
enum : uint64_t { CANARY = 0x5afe57ac5afe57ac };

struct Slot {
    Fibre fibre;
    char *stack;
    bool is_made;
};

static Slot slots[MAX_THREADS];
static Thread threads[MAX_THREADS];
static Fibre scheduler;
static const Launch *running;
static int num_threads, num_ended, block_arrived, warp_arrived[MAX_THREADS / WARP];
static uint64_t order, draws;
static bool has_fault;
static const void *host_stack; // AddressSanitizer's description of the host's stack
static size_t host_stack_bytes;

Thread *self;
dim3 block_index, block_size, grid_size;

void fault(const char *what)
{
    if (!has_fault)
        fail(cudaErrorLaunchFailure, "%s, block (%u, %u, %u), thread %d: %s", running->name,
             block_index.x, block_index.y, block_index.z, self->number, what);
    has_fault = true;
}

/* ---- fibres --------------------------------------------------------------------------------- */

static void leave()
{
    Slot *slot = &slots[self->number];
    void *fake = nullptr;
    __sanitizer_start_switch_fiber(&fake, host_stack, host_stack_bytes);
    fibre_switch(&slot->fibre, &scheduler);
    __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
}

/* A fibre serves one thread after another. */
static void fibre_main()
{
    __sanitizer_finish_switch_fiber(nullptr, &host_stack, &host_stack_bytes);
    for (;;) {
        running->run(running->call);
        if (self->num_copies > 0) fault("has ended with copies that it did not wait for");
        self->state = State::ENDED;
        num_ended++;
        leave();
    }
}

static void enter(Thread *thread)
{
    Slot *slot = &slots[thread->number];
    if (!slot->is_made) {
        __asan_unpoison_memory_region(slot->stack, STACK_BYTES);
        *(uint64_t *)slot->stack = CANARY;
        fibre_make(&slot->fibre, fibre_main, slot->stack, STACK_BYTES);
        slot->is_made = true;
    }
    self = thread;
    void *fake = nullptr;
    __sanitizer_start_switch_fiber(&fake, slot->stack, STACK_BYTES);
    fibre_switch(&scheduler, &slot->fibre);
    __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
    FL_ASSERT(*(uint64_t *)slot->stack == CANARY); // else the stack was too small
}

/* After a fault fibres stand in the middle of something: they begin anew. */
static void abandon_fibres()
{
    for (Slot &slot : slots)
        slot.is_made = false;
}

static bool make_stacks()
{
    if (slots[0].stack) return true;
    void *all = mmap(nullptr, MAX_THREADS * STACK_BYTES, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (all == MAP_FAILED) return false;
    for (int i = 0; i < MAX_THREADS; i++)
        slots[i].stack = (char *)all + (size_t)i * STACK_BYTES;
    return true;
}

/* ---- waiting -------------------------------------------------------------------------------- */

void fault_and_leave(const char *what)
{
    fault(what);
    leave();
    FL_ASSERT(!"a fibre of a launch that has failed");
    __builtin_unreachable();
}

static bool same_site(const char *a, const char *b)
{
    return a == b || strcmp(a, b) == 0;
}

/* The running thread comes to a barrier of `count` threads from `first` on, *arrived of which are
 * there.  The last one lets all go on, itself at once, if they are all at one place. */
static bool meet(Thread *first, int count, int *arrived, State state, const char *site)
{
    self->state = state;
    self->site = site;
    if (++*arrived < count) return false;
    for (int i = 0; i < count; i++)
        if (first[i].state != state || !same_site(first[i].site, site)) return false;
    *arrived = 0;
    for (int i = 0; i < count; i++)
        first[i].state = State::READY;
    return true;
}

void wait_for_block(const char *site)
{
    if (meet(threads, num_threads, &block_arrived, State::AT_BLOCK, site))
        block_passed();
    else
        leave();
}

const Thread *exchange(unsigned mask, uint64_t value, bool orders, const char *site)
{
    if (mask != ~0u) fault_and_leave("a mask that leaves lanes out is not emulated");
    int warp = self->number / WARP;
    Thread *lanes = threads + warp * WARP;
    self->given[self->parity] = value;
    self->parity ^= 1;
    if (!meet(lanes, WARP, &warp_arrived[warp], State::AT_WARP, site))
        leave();
    else if (orders)
        warp_passed(warp);
    return lanes;
}

/* Nobody can go on: names one that waits, and one of its warp or block that does not come. */
static void report_divergence()
{
    char text[256];
    const Thread *waiting = threads;
    while (waiting->state == State::ENDED)
        waiting++;
    bool in_warp = waiting->state == State::AT_WARP;
    const Thread *other = in_warp ? threads + waiting->number / WARP * WARP : threads;
    while (other->state == waiting->state && same_site(other->site, waiting->site))
        other++;
    self = threads + waiting->number;
    if (other->state == State::ENDED)
        snprintf(text, sizeof text, "waits at %s for thread %d, which has ended", waiting->site,
                 other->number);
    else
        snprintf(text, sizeof text, "waits at %s for thread %d, which waits at %s", waiting->site,
                 other->number, other->site);
    fault(text);
}

/* ---- turns ---------------------------------------------------------------------------------- */

/* SplitMix64 of a counter. */
static uint64_t draw()
{
    uint64_t z = (order + ++draws) * 0x9E3779B97F4A7C15;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
    return z ^ (z >> 31);
}

/* The numbers 0 .. count-1 in the chosen order: from `at` on in steps of `stride`, modulo count.  A
 * whole shuffle for every turn would cost more than the turn. */
struct Turn {
    uint64_t at, stride, count;
};

static uint64_t greatest_divisor(uint64_t a, uint64_t b)
{
    while (b) {
        uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

static Turn make_turn(uint64_t count)
{
    if (order == 0) return {0, 1, count};
    if (order == 1) return {count - 1, count - 1, count}; // -1 modulo count
    uint64_t stride = 1 + draw() % count;
    while (greatest_divisor(stride, count) != 1)
        stride++;
    return {draw() % count, stride % count, count};
}

static uint64_t take_turn(Turn *turn)
{
    uint64_t at = turn->at, next = at + turn->stride;
    turn->at = next < turn->count ? next : next - turn->count;
    return at;
}

static void number_threads()
{
    for (int i = 0; i < num_threads; i++) {
        unsigned n = (unsigned)i, x = block_size.x, y = block_size.y;
        threads[i].index = dim3(n % x, n / x % y, n / x / y);
        threads[i].number = i;
    }
}

static void begin_block()
{
    num_ended = block_arrived = 0;
    for (int &arrived : warp_arrived)
        arrived = 0;
    for (int i = 0; i < num_threads; i++) {
        threads[i].state = State::READY;
        threads[i].parity = 0;
        threads[i].num_copies = threads[i].num_groups = 0;
    }
    begin_shared(running->dynamic_bytes);
}

/* Turn after turn, until all threads have ended or none of them can go on. */
static void run_block()
{
    begin_block();
    bool has_moved = true;
    while (has_moved && !has_fault && num_ended < num_threads) {
        Turn turn = make_turn((uint64_t)num_threads);
        has_moved = false;
        for (int i = 0; i < num_threads && !has_fault; i++) {
            Thread *t = &threads[take_turn(&turn)];
            if (t->state != State::READY) continue;
            has_moved = true;
            enter(t);
        }
    }
    if (!has_moved) report_divergence();
}

/* ---- launches ------------------------------------------------------------------------------- */

static uint64_t volume(dim3 d)
{
    return (uint64_t)d.x * d.y * d.z;
}

static bool is_allowed(const Launch &launch)
{
    uint64_t size = volume(launch.block), blocks = volume(launch.grid);
    bool fits = size >= 1 && size <= MAX_THREADS && size % WARP == 0 && blocks >= 1 &&
                launch.grid.x <= 0x7fffffff && launch.grid.y <= 65535 && launch.grid.z <= 65535;
    if (!fits)
        fail(cudaErrorInvalidConfiguration, "%s: a grid of %ux%ux%u blocks of %ux%ux%u threads",
             launch.name, launch.grid.x, launch.grid.y, launch.grid.z, launch.block.x,
             launch.block.y, launch.block.z);
    size_t most = dynamic_shared_of(launch.kernel);
    if (fits && launch.dynamic_bytes > most) {
        fail(cudaErrorInvalidConfiguration, "%s: %zu bytes of shared memory, %zu are allowed",
             launch.name, launch.dynamic_bytes, most);
        return false;
    }
    return fits;
}

void run_launch(const Launch &launch)
{
    if (!is_allowed(launch)) return;
    if (!make_stacks()) {
        fail(cudaErrorMemoryAllocation, "no memory for the stacks of threads");
        return;
    }
    running = &launch;
    block_size = launch.block;
    grid_size = launch.grid;
    num_threads = (int)volume(launch.block);
    has_fault = false;
    number_threads();
    fl_emu_memory_open();
    Turn turn = make_turn(volume(launch.grid));
    for (uint64_t i = 0; i < turn.count && !has_fault; i++) {
        uint64_t at = take_turn(&turn);
        block_index = dim3((unsigned)(at % grid_size.x), (unsigned)(at / grid_size.x % grid_size.y),
                           (unsigned)(at / grid_size.x / grid_size.y));
        run_block();
    }
    if (!has_fault) check_ends(launch.name);
    fl_emu_memory_close();
    if (has_fault) abandon_fibres();
}

} // namespace fl_emu

void fl_emu_set_order(uint64_t order)
{
    fl_emu::order = order;
    fl_emu::draws = 0;
}
