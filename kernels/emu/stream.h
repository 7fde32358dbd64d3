/* The stream's work: done at once, put off as long as CUDA may put it off, or kept in a graph. */
#ifndef FL_KERNELS_EMU_STREAM_H
#define FL_KERNELS_EMU_STREAM_H

#include "kernels/emu/runtime.h"

namespace fl_emu
{

/* A piece of work with its arguments by value. */
struct Work {
    Work *next = nullptr;
    virtual void run() = 0;
    virtual ~Work() = default;
};

template <class F> struct WorkOf final : Work {
    F function;
    explicit WorkOf(const F &function) : function(function)
    {
    }
    void run() override
    {
        function();
    }
};

bool is_recording(); /* the stream is captured */
void record(Work *work);
void put_off(Work *work);
void catch_up(); /* does what was put off */

/* Work in the order of the stream; while it is captured nothing is done, the graph keeps it. */
template <class F> void submit(const F &function)
{
    if (is_recording()) return record(new WorkOf<F>(function));
    catch_up();
    function();
}

/* Work that nothing waits for: done when something does. */
template <class F> void submit_late(const F &function)
{
    put_off(new WorkOf<F>(function));
}

/* For calls that a capture does not take: false after they have spoilt it. */
bool may_wait(const char *call);

} // namespace fl_emu

#endif
