/* Arrays of shared memory, and who touched which element when. */
#include "kernels/emu/shared.h"

#include "kernels/emu/block.h"
#include "kernels/emu/emu.h"

#include <stdio.h>
#include <string.h>

namespace fl_emu
{

enum { MAX_ARRAYS = 16, MAX_CELLS = SHARED_MOST / 2, MAX_KERNELS = 64, NOBODY = -1, ALL = -32768 };

bool checking;

static struct {
    const void *place;
    Array array;
} arrays[MAX_ARRAYS];
static int num_arrays;
alignas(16) static char memory[SHARED_MOST];
static Cell cells[MAX_CELLS];
static size_t memory_used, cells_used, dynamic_size;
static uint32_t block_number;
static uint32_t time_now, warp_time[MAX_THREADS / WARP];

/* ---- arrays --------------------------------------------------------------------------------- */

void begin_shared(size_t dynamic_bytes)
{
    num_arrays = 0;
    memory_used = cells_used = 0;
    dynamic_size = dynamic_bytes;
    block_number++;
    time_now = 0;
    for (uint32_t &t : warp_time)
        t = 0;
}

void block_passed()
{
    time_now++;
}

void warp_passed(int warp)
{
    warp_time[warp]++;
}

static Array *find_array(const void *place, const char *name)
{
    for (int i = 0; i < num_arrays; i++)
        if (arrays[i].place == place && strcmp(arrays[i].array.name, name) == 0)
            return &arrays[i].array;
    return nullptr;
}

/* The bytes of a new array are all ones: NaN, where nobody checks. */
static Array *add_array(const void *place, const char *name, size_t count, size_t size)
{
    size_t bytes = (count * size + 15) / 16 * 16;
    if (num_arrays == MAX_ARRAYS || memory_used + bytes > SHARED_MOST ||
        cells_used + count > MAX_CELLS)
        fault_and_leave("too much shared memory");
    Array *array = &arrays[num_arrays].array;
    arrays[num_arrays++].place = place;
    *array = {name, memory + memory_used, cells + cells_used, (uint32_t)count};
    memset(array->data, 0xff, bytes);
    memory_used += bytes;
    cells_used += count;
    return array;
}

Array *static_array(const void *place, const char *name, size_t count, size_t size)
{
    Array *array = find_array(place, name);
    if (array) return array;
    if (count * size > STATIC_SHARED_MOST) fault_and_leave("a static array above 48 KB");
    return add_array(place, name, count, size);
}

Array *dynamic_array(const char *name, size_t size)
{
    Array *array = find_array(nullptr, name);
    return array ? array : add_array(nullptr, name, dynamic_size / size, size);
}

/* ---- checks --------------------------------------------------------------------------------- */

static void element_fault(const Array *array, int64_t index, const char *what, int other)
{
    char text[256];
    if (other >= 0)
        snprintf(text, sizeof text, "%s[%lld] %s thread %d without a barrier between", array->name,
                 (long long)index, what, other);
    else
        snprintf(text, sizeof text, "%s[%lld] %s", array->name, (long long)index, what);
    fault_and_leave(text);
}

void out_of_bounds(const Array *array, int64_t index, int64_t begin, int64_t end)
{
    char text[256];
    snprintf(text, sizeof text, "%s[%lld] is outside [%lld, %lld)", array->name, (long long)index,
             (long long)begin, (long long)end);
    fault_and_leave(text);
}

static Cell *cell_of(const Array *array, int64_t index)
{
    Cell *cell = &array->cells[index];
    if (cell->block != block_number) *cell = {block_number, 0, 0, 0, 0, NOBODY, NOBODY};
    return cell;
}

static int own_warp()
{
    return self->number / WARP;
}

/* A barrier stands between then and now, for a thread of that warp and the running one. */
static bool is_ordered(int warp, uint32_t then, uint32_t warp_then)
{
    return then < time_now || (warp == own_warp() && warp_then < warp_time[warp]);
}

static void check_writer(const Array *array, int64_t index, const Cell *cell, const char *what)
{
    int writer = cell->writer;
    if (writer == NOBODY || writer == self->number) return;
    if (!is_ordered(writer / WARP, cell->write_time, cell->write_warp_time))
        element_fault(array, index, what, writer);
}

void check_read(const Array *array, int64_t index)
{
    Cell *cell = cell_of(array, index);
    if (cell->writer == NOBODY)
        element_fault(array, index, "is read but was never written", NOBODY);
    check_writer(array, index, cell, "is read after it was written by");
    int several = -2 - own_warp(), me = self->number;
    if (cell->reader == NOBODY || cell->read_time < time_now)
        cell->reader = (int16_t)me;
    else if (cell->reader != me)
        cell->reader = (int16_t)(cell->reader == several ||
                                         (cell->reader >= 0 && cell->reader / WARP == own_warp())
                                     ? several
                                     : (int)ALL);
    cell->read_time = time_now;
    cell->read_warp_time = warp_time[own_warp()];
}

/* Readers that another thread's write might overtake. */
static bool has_open_readers(const Cell *cell)
{
    int reader = cell->reader;
    if (reader == NOBODY || reader == self->number) return false;
    if (reader == ALL) return cell->read_time >= time_now;
    int warp = reader >= 0 ? reader / WARP : -2 - reader;
    return !is_ordered(warp, cell->read_time, cell->read_warp_time);
}

void check_write(const Array *array, int64_t index)
{
    Cell *cell = cell_of(array, index);
    check_writer(array, index, cell, "is written after it was written by");
    if (has_open_readers(cell))
        element_fault(array, index,
                      "is written after it was read by another thread without a barrier "
                      "between",
                      NOBODY);
    cell->writer = (int16_t)self->number;
    cell->write_time = time_now;
    cell->write_warp_time = warp_time[own_warp()];
    cell->reader = NOBODY;
}

void forget_write(const Array *array, int64_t index)
{
    check_write(array, index);
    cell_of(array, index)->writer = NOBODY;
}

/* ---- attributes ----------------------------------------------------------------------------- */

static struct {
    const void *kernel;
    size_t bytes;
} announced[MAX_KERNELS];
static int num_announced;

cudaError_t set_dynamic_shared(const void *kernel, int bytes)
{
    if (bytes < 0 || (size_t)bytes > SHARED_MOST)
        return fail(cudaErrorInvalidValue, "%d bytes of shared memory, a block has %zu", bytes,
                    (size_t)SHARED_MOST);
    int i = 0;
    while (i < num_announced && announced[i].kernel != kernel)
        i++;
    if (i == MAX_KERNELS) return fail(cudaErrorInvalidValue, "too many kernels with attributes");
    if (i == num_announced) num_announced++;
    announced[i] = {kernel, (size_t)bytes};
    return cudaSuccess;
}

size_t dynamic_shared_of(const void *kernel)
{
    for (int i = 0; i < num_announced; i++)
        if (announced[i].kernel == kernel) return announced[i].bytes;
    return STATIC_SHARED_MOST;
}

} // namespace fl_emu

void fl_emu_set_checks(bool on)
{
    fl_emu::checking = on;
}
