#include "backend/ops.h"

#include <string.h>

/* Best first: the first one that is present is what "auto" means, down to the cpu.  FL_BACKENDS is
 * the build's list, X(cuda) X(cpu) X(cuda_emu) at its longest. */
static const fl_backend_ops *const backends[] = {
#define X(name) &fl_backend_##name,
    FL_BACKENDS
#undef X
};

static const char names[] =
#define X(name) " " #name
    FL_BACKENDS
#undef X
    ;

enum { NUM_BACKENDS = sizeof backends / sizeof backends[0] };

const fl_backend_ops *fl_backend_find(const char *name)
{
    bool is_auto = strcmp(name, "auto") == 0;
    for (size_t i = 0; i < NUM_BACKENDS; i++) {
        if (is_auto ? backends[i]->present() : strcmp(name, backends[i]->name) == 0)
            return backends[i];
    }
    return NULL;
}

fl_status fl_backend_set_compute(const fl_backend_ops *ops, const char *word)
{
    if (strcmp(word, "auto") == 0) return ops->set_compute(ops->best_compute);
    return ops->set_compute(strcmp(word, "bfloat16") == 0 ? FL_BF16 : FL_F32);
}

fl_status fl_backend_open(const fl_backend_ops **out, const char *name, int local_rank)
{
    *out = fl_backend_find(name);
    FL_CHECK(*out, FL_ERR_USAGE, "backend = \"%s\": this build has%s", name, names);
    return local_rank < 0 ? FL_OK : (*out)->open(local_rank);
}

void fl_backend_replay(const fl_backend_ops *ops, const fl_replay_key *key,
                       void (*body)(void *context), void *context)
{
    if (ops->replay)
        ops->replay(key, body, context);
    else
        body(context);
}
