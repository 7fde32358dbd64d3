/* Launches that are repeated: what a body launches is captured in a graph when its key comes for
 * the second time, and from the third time on the graph alone is launched. */
#include "kernels/cuda/cuda.h"

namespace FL_DEVICE
{

enum { NUM_GRAPHS = 192 };

enum class Stage { UNKNOWN, SEEN, READY, EAGER /* cannot be captured */ };

struct Entry {
    fl_replay_key key;
    Stage stage;
    cudaGraphExec_t graph;
    uint64_t used; /* when, last */
};

static Entry entries[NUM_GRAPHS];
static uint64_t num_uses;

static void drop(Entry *entry)
{
    if (entry->stage == Stage::READY) check(cudaGraphExecDestroy(entry->graph), "dropping a graph");
    *entry = {};
}

void forget_graphs()
{
    for (Entry &entry : entries)
        drop(&entry);
}

static Entry *find(const fl_replay_key *key)
{
    for (Entry &entry : entries) {
        if (entry.stage == Stage::UNKNOWN || memcmp(&entry.key, key, sizeof *key) != 0) continue;
        entry.used = ++num_uses;
        return &entry;
    }
    return nullptr;
}

/* In the place of what was used longest ago. */
static void remember(const fl_replay_key *key)
{
    Entry *oldest = entries;
    for (Entry &entry : entries)
        if (entry.used < oldest->used) oldest = &entry;
    drop(oldest);
    *oldest = {*key, Stage::SEEN, {}, ++num_uses};
}

/* The body's launches as a graph; false: it did what cannot be in one, or the device refused. */
static bool capture(cudaGraphExec_t *out, void (*body)(void *), void *context)
{
    cudaGraph_t graph = {};
    begin_capture();
    bool is_whole =
        cudaStreamBeginCapture(stream(), cudaStreamCaptureModeThreadLocal) == cudaSuccess;
    if (is_whole) {
        body(context);
        is_whole = cudaStreamEndCapture(stream(), &graph) == cudaSuccess;
    }
    is_whole =
        end_capture() && is_whole && cudaGraphInstantiateWithFlags(out, graph, 0) == cudaSuccess;
    if (graph) (void)cudaGraphDestroy(graph);
    (void)cudaGetLastError();
    return is_whole;
}

void op_replay(const fl_replay_key *key, void (*body)(void *context), void *context)
{
    Entry *entry = is_capturing() || !can_launch() ? nullptr : find(key);
    if (entry && entry->stage == Stage::SEEN)
        entry->stage = capture(&entry->graph, body, context) ? Stage::READY : Stage::EAGER;
    if (entry && entry->stage == Stage::READY) {
        check(cudaGraphLaunch(entry->graph, stream()), "replaying");
        return;
    }
    body(context); // which may forget all graphs, this entry too
    if (!entry && !is_capturing() && can_launch() && !find(key)) remember(key);
}

} // namespace FL_DEVICE
