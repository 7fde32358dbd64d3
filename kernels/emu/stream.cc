/* The emulated stream, its events, and graphs: lists of work. */
#include "kernels/emu/stream.h"

#include "kernels/emu/control.h"

#include <stdint.h>

namespace fl_emu
{

struct Queue {
    Work *first;
    Work **end;
    uint64_t put, done; /* pieces of work so far */
};

/* A graph and what was made of it are one list. */
struct Graph {
    Work *first;
    int users;
};

struct Event {
    uint64_t at; /* pieces of work in front of it */
};

static Queue late = {nullptr, &late.first, 0, 0};
static Queue recorded = {nullptr, &recorded.first, 0, 0};
static bool is_captured, is_spoilt;
static uint64_t num_launches;

/* ---- queues --------------------------------------------------------------------------------- */

static void append(Queue *queue, Work *work)
{
    *queue->end = work;
    queue->end = &work->next;
    queue->put++;
}

static void free_all(Work *work)
{
    while (work) {
        Work *next = work->next;
        delete work;
        work = next;
    }
}

static Work *take_all(Queue *queue)
{
    Work *first = queue->first;
    queue->first = nullptr;
    queue->end = &queue->first;
    return first;
}

static void catch_up_to(uint64_t count)
{
    while (late.first && late.done < count) {
        Work *work = late.first;
        late.first = work->next;
        if (!late.first) late.end = &late.first;
        late.done++;
        work->run();
        delete work;
    }
}

bool is_recording()
{
    return is_captured;
}

void record(Work *work)
{
    append(&recorded, work);
}

void put_off(Work *work)
{
    append(&late, work);
}

void catch_up()
{
    catch_up_to(late.put);
}

bool may_wait(const char *call)
{
    if (!is_captured) return true;
    is_spoilt = true;
    fail(cudaErrorStreamCaptureUnsupported, "%s while the stream is captured", call);
    return false;
}

/* ---- streams and events --------------------------------------------------------------------- */

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned)
{
    *stream = 1;
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t)
{
    if (!may_wait("cudaStreamSynchronize")) return cudaErrorStreamCaptureUnsupported;
    catch_up();
    return cudaSuccess;
}

cudaError_t cudaStreamQuery(cudaStream_t)
{
    catch_up();
    return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned)
{
    *event = new Event{0};
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t)
{
    if (!may_wait("cudaEventRecord")) return cudaErrorStreamCaptureUnsupported;
    event->at = late.put;
    return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    if (!may_wait("cudaEventSynchronize")) return cudaErrorStreamCaptureUnsupported;
    catch_up_to(event->at);
    return cudaSuccess;
}

cudaError_t cudaEventElapsedTime(float *milliseconds, cudaEvent_t, cudaEvent_t)
{
    *milliseconds = 0.0f;
    return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    delete event;
    return cudaSuccess;
}

/* ---- graphs --------------------------------------------------------------------------------- */

cudaError_t cudaStreamBeginCapture(cudaStream_t, cudaStreamCaptureMode)
{
    if (is_captured) return fail(cudaErrorInvalidValue, "the stream is captured already");
    catch_up();
    is_captured = true;
    is_spoilt = false;
    return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t, cudaGraph_t *graph)
{
    *graph = nullptr;
    if (!is_captured) return fail(cudaErrorInvalidValue, "the stream is not captured");
    is_captured = false;
    Work *first = take_all(&recorded);
    if (is_spoilt) {
        free_all(first);
        return fail(cudaErrorStreamCaptureInvalidated, "the capture was spoilt before its end");
    }
    *graph = new Graph{first, 1};
    return cudaSuccess;
}

cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t *out, cudaGraph_t graph, unsigned)
{
    graph->users++;
    *out = graph;
    return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
    if (--graph->users > 0) return cudaSuccess;
    free_all(graph->first);
    delete graph;
    return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph)
{
    return cudaGraphDestroy(graph);
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t)
{
    if (is_captured) return fail(cudaErrorInvalidValue, "a graph inside a captured stream");
    catch_up();
    num_launches++;
    for (Work *work = graph->first; work; work = work->next)
        work->run();
    return cudaGetLastError();
}

} // namespace fl_emu

uint64_t fl_emu_graph_launches(void)
{
    return fl_emu::num_launches;
}
