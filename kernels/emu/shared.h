/* Shared memory of the emulated block: arrays whose every access is checked for its bounds and,
 * with fl_emu_set_checks, for what barriers must order.
 *
 * Each element remembers who wrote and who read it last and at which barrier.  So a missing barrier
 * is found in any order of the threads, not only in one where the result happens to differ. */
#ifndef FL_KERNELS_EMU_SHARED_H
#define FL_KERNELS_EMU_SHARED_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

namespace fl_emu
{

/* What is known of one element in the running block. */
struct Cell {
    uint32_t block;      /* number of the block, over all launches, that last touched it */
    uint32_t write_time; /* barriers of the block before the last write */
    uint32_t write_warp_time;
    uint32_t read_time, read_warp_time;
    int16_t writer; /* thread, or NOBODY */
    int16_t reader; /* thread, NOBODY, or several: of one warp (-2 - warp) or of the block (ALL) */
};

/* One array.  Its memory is the block's, its values are undefined at the block's start. */
struct Array {
    const char *name;
    char *data;
    Cell *cells;
    uint32_t count;
};

extern bool checking;
/* Memory of the array that stands at `place` of the program; the same for all threads. */
Array *static_array(const void *place, const char *name, size_t count, size_t size);
Array *dynamic_array(const char *name, size_t size);
[[noreturn]] void out_of_bounds(const Array *array, int64_t index, int64_t begin, int64_t end);
void check_read(const Array *array, int64_t index);
void check_write(const Array *array, int64_t index);
/* A write that begins: the element is as never written until it ends. */
void forget_write(const Array *array, int64_t index);

template <class T> class Shared;

/* One element: reading and writing it are told apart. */
template <class T> class Element
{
  public:
    Element(const Array *array, int64_t index) : array(array), index(index)
    {
    }
    operator T() const
    {
        if (checking) check_read(array, index);
        T value;
        memcpy(&value, array->data + index * (int64_t)sizeof(T), sizeof value);
        return value;
    }
    T operator=(T value) const
    {
        if (checking) check_write(array, index);
        memcpy(array->data + index * (int64_t)sizeof(T), &value, sizeof value);
        return value;
    }
    T operator=(const Element &other) const
    {
        return *this = T(other);
    }
    T operator+=(T value) const
    {
        return *this = T(*this) + value;
    }

  private:
    const Array *array;
    int64_t index;
};

/* Elements begin .. end-1 of an array. */
template <class T> class Shared
{
  public:
    Shared(const Array *array, int64_t begin, int64_t end) : array(array), begin(begin), end(end)
    {
    }
    Element<T> operator[](int64_t i) const
    {
        if (i < 0 || begin + i >= end) out_of_bounds(array, begin + i, begin, end);
        return Element<T>(array, begin + i);
    }
    Shared part(int64_t first, int64_t count) const
    {
        if (first < 0 || begin + first + count > end)
            out_of_bounds(array, begin + first + count, begin, end);
        return Shared(array, begin + first, begin + first + count);
    }
    const Array *array_of() const
    {
        return array;
    }
    /* Of element i in the array; it and the next count-1 are there. */
    int64_t place_of(int64_t i, int64_t count) const
    {
        if (i < 0 || begin + i + count > end) out_of_bounds(array, begin + i, begin, end);
        return begin + i;
    }

  private:
    const Array *array;
    int64_t begin, end;
};

template <class T> Shared<T> make_static(const void *place, const char *name, size_t count)
{
    return Shared<T>(static_array(place, name, count, sizeof(T)), 0, (int64_t)count);
}

template <class T> Shared<T> make_dynamic(const char *name)
{
    const Array *array = dynamic_array(name, sizeof(T));
    return Shared<T>(array, 0, array->count);
}

} // namespace fl_emu

#endif
